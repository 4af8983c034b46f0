-- One operation that changes a key. Values are packed as "VERSION EXPIRY JSON", EXPIRY in milliseconds, 0 for none.
-- KEYS: the value, the keys in order, their sizes, their expiries, the totals, the answer to this call if it is kept.
-- ARGV: op, key, value, version, ttl, keys_max, bytes_max, value_bytes_max, channel of changes, how long the answer is kept.
-- Answers: {"ok", packed or false, given} | {"again", packed} | {"compute", packed} | {"conflict", version} | {"keys"} |
-- {"bytes", bytes} | {"large", bytes} | {"number"} | {"list"}
local value_key, keys, sizes, expiries, totals, answer_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local op, key, value, wanted, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local kept_ms = tonumber(ARGV[10])

if kept_ms > 0 then
    local answer = redis.call('GET', answer_key)
    if answer then return {'again', answer} end
end

-- Only where it is needed: a call of the server costs more than all the rest.
local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Takes out of the totals what has expired: the values are gone already, by their own expiry. How many there were.
local function sweep()
    local over = redis.call('ZRANGEBYSCORE', expiries, '-inf', now_ms(), 'LIMIT', 0, 1000)
    for _, name in ipairs(over) do
        local size = redis.call('HGET', sizes, name)
        if size then
            redis.call('HDEL', sizes, name)
            redis.call('ZREM', keys, name)
            redis.call('HINCRBY', totals, 'bytes', -tonumber(size))
        end
        redis.call('ZREM', expiries, name)
    end
    return #over
end
if op == 'sweep' then
    sweep()
    return {'ok', false}
end

local packed = redis.call('GET', value_key)
local version, expiry, old = '0', '0', false
if packed then
    local first = string.find(packed, ' ', 1, true)
    local second = string.find(packed, ' ', first + 1, true)
    version, expiry, old = string.sub(packed, 1, first - 1), string.sub(packed, first + 1, second - 1), string.sub(packed, second + 1)
end

local function answered(text, given)
    if kept_ms > 0 then redis.call('SET', answer_key, text or '', 'PX', kept_ms) end
    return {'ok', text or false, given}
end

if op == 'delete' or op == 'take' then
    if packed then
        local size = redis.call('HGET', sizes, key) or '0'
        redis.call('DEL', value_key)
        redis.call('HDEL', sizes, key)
        redis.call('ZREM', keys, key)
        redis.call('ZREM', expiries, key)
        redis.call('HINCRBY', totals, 'bytes', -tonumber(size))
        redis.call('PUBLISH', ARGV[9], '0 ' .. #key .. ' ' .. key)
    end
    return answered(op == 'take' and packed)
end

if (op == 'cas' or op == 'if') and version ~= wanted then return {'conflict', version} end
if op == 'add' then
    local before = old or '0'
    if not (#before <= 15 and #value <= 15 and string.match(before, '^%-?%d+$') and string.match(value, '^%-?%d+$')) then
        return {'compute', packed}
    end
    value = string.format('%.0f', tonumber(before) + tonumber(value))
    if value == '-0' then value = '0' end
elseif op == 'append' then
    local before = old or '[]'
    local from, to = 1, #before
    while from <= to and string.find(before, '^%s', from) do from = from + 1 end
    while to >= from and string.find(before, '^%s', to) do to = to - 1 end
    if string.sub(before, from, from) ~= '[' or string.sub(before, to, to) ~= ']' then return {'list'} end
    from, to = from + 1, to - 1
    while from <= to and string.find(before, '^%s', from) do from = from + 1 end
    while to >= from and string.find(before, '^%s', to) do to = to - 1 end
    local elements = string.sub(before, from, to)
    value = '[' .. elements .. (elements ~= '' and ',' or '') .. value .. ']'
end
if #value > tonumber(ARGV[8]) then return {'large', #value} end

-- What is counted for a key: what is there, or what expired and was not swept yet.
local size = #key + #value
local counted = packed and (#key + #old) or tonumber(redis.call('HGET', sizes, key) or -1)
local is_new = counted < 0
if is_new then counted = 0 end
if is_new and redis.call('ZCARD', keys) >= tonumber(ARGV[6]) then
    if sweep() == 0 or redis.call('ZCARD', keys) >= tonumber(ARGV[6]) then return {'keys'} end
end
if size > counted then
    local bytes = tonumber(redis.call('HGET', totals, 'bytes') or 0)
    if bytes - counted + size > tonumber(ARGV[7]) and sweep() > 0 then
        -- What was counted for this key may have been among it.
        if not packed and not is_new then
            is_new = not redis.call('HGET', sizes, key)
            if is_new then counted = 0 end
        end
        bytes = tonumber(redis.call('HGET', totals, 'bytes') or 0)
    end
    if bytes - counted + size > tonumber(ARGV[7]) then return {'bytes', bytes - counted + size} end
end
if is_new then redis.call('ZADD', keys, 0, key) end
if counted ~= size then
    redis.call('HSET', sizes, key, size)
    redis.call('HINCRBY', totals, 'bytes', size - counted)
end
version = string.format('%.0f', redis.call('HINCRBY', totals, 'version', 1))
local had_expiry = expiry ~= '0' or not (packed or is_new)
if ttl ~= 'keep' then
    expiry = ttl == '' and '0' or string.format('%.0f', now_ms() + tonumber(ttl))
end
packed = version .. ' ' .. expiry .. ' ' .. value
if expiry == '0' then
    redis.call('SET', value_key, packed)
    if had_expiry then redis.call('ZREM', expiries, key) end
else
    redis.call('SET', value_key, packed, 'PXAT', expiry)
    redis.call('ZADD', expiries, expiry, key)
end
redis.call('PUBLISH', ARGV[9], version .. ' ' .. #key .. ' ' .. key .. (#value <= 65536 and value or ''))
return answered(packed)
