-- What is done with the messages of a channel.
-- KEYS: bodies ("SENT BODY" by id), facts ("DELIVERIES MAX RUN" by id), ready, delivered (by the end of its lease), dead,
-- totals, the answer to this call if it is kept.
-- ARGV: what, channel of wake-ups, how long the answer is kept, and what it needs.
local bodies, facts, ready, delivered, dead, totals, answer_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local what, woken, kept_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function facts_of(id)
    local found = redis.call('HGET', facts, id)
    if not found then return 0, 0, '' end
    local deliveries, most, run = string.match(found, '^(%d+) (%d+) (.*)$')
    return tonumber(deliveries), tonumber(most), run
end

local function give_back(id)
    redis.call('ZREM', delivered, id)
    local deliveries, most = facts_of(id)
    if deliveries >= most then redis.call('ZADD', dead, id, id) else redis.call('ZADD', ready, id, id) end
    redis.call('PUBLISH', woken, 'sent')
end

local function remove(id)
    local body = redis.call('HGET', bodies, id)
    if not body then return nil end
    local space = string.find(body, ' ', 1, true)
    redis.call('HDEL', bodies, id)
    redis.call('HDEL', facts, id)
    redis.call('HINCRBY', totals, 'bytes', space - #body)
    return string.sub(body, space + 1)
end

local function send(body)
    local id = string.format('%.0f', redis.call('HINCRBY', totals, 'last', 1))
    redis.call('HSET', bodies, id, string.format('%.0f', now) .. ' ' .. body)
    redis.call('HINCRBY', totals, 'bytes', #body)
    redis.call('ZADD', ready, id, id)
    redis.call('PUBLISH', woken, 'sent')
    return id
end

local function message(id)
    local body = redis.call('HGET', bodies, id)
    local space = string.find(body, ' ', 1, true)
    local deliveries, _, run = facts_of(id)
    return {'ok', id, string.sub(body, space + 1), string.sub(body, 1, space - 1), string.format('%.0f', deliveries), run}
end

if what == 'send' then
    if kept_ms > 0 then
        local answer = redis.call('GET', answer_key)
        if answer then return {'ok', answer} end
    end
    local count, bytes = redis.call('HLEN', bodies), tonumber(redis.call('HGET', totals, 'bytes') or 0)
    if count >= tonumber(ARGV[5]) or bytes + #ARGV[4] > tonumber(ARGV[6]) then
        return {'full', string.format('%.0f', count), string.format('%.0f', bytes)}
    end
    local id = send(ARGV[4])
    if kept_ms > 0 then redis.call('SET', answer_key, id, 'PX', kept_ms) end
    return {'ok', id}
end

if what == 'receive' then
    local run, most, lease = ARGV[4], ARGV[5], tonumber(ARGV[6])
    if kept_ms > 0 then
        local id = redis.call('GET', answer_key)
        if id and redis.call('ZSCORE', delivered, id) then
            local _, _, holder = facts_of(id)
            if holder == run then return message(id) end
        end
    end
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', delivered, '-inf', now, 'LIMIT', 0, 100)) do give_back(id) end
    local id = redis.call('ZPOPMIN', ready)[1]
    if not id then
        local next = redis.call('ZRANGE', delivered, 0, 0, 'WITHSCORES')[2]
        return {'empty', next and string.format('%.0f', tonumber(next) - now) or '0'}
    end
    local deliveries = facts_of(id)
    redis.call('HSET', facts, id, string.format('%.0f', deliveries + 1) .. ' ' .. most .. ' ' .. run)
    redis.call('ZADD', delivered, string.format('%.0f', now + lease), id)
    if kept_ms > 0 then redis.call('SET', answer_key, id, 'PX', kept_ms) end
    return message(id)
end

if what == 'settle' then
    local id, run, verdict = ARGV[4], ARGV[5], ARGV[6]
    local _, _, holder = facts_of(id)
    if holder ~= run or not redis.call('ZSCORE', delivered, id) then return {'no'} end
    if verdict == 'done' then
        redis.call('ZREM', delivered, id)
        remove(id)
    else
        give_back(id)
    end
    return {'ok'}
end

if what == 'renew' then
    local run, lease = ARGV[4], tonumber(ARGV[5])
    for at = 6, #ARGV do
        local _, _, holder = facts_of(ARGV[at])
        if holder == run then redis.call('ZADD', delivered, 'XX', string.format('%.0f', now + lease), ARGV[at]) end
    end
    return {'ok'}
end

if what == 'bury' or what == 'revive' then
    if redis.call('ZREM', dead, ARGV[4]) == 0 then return {'no'} end
    local body = remove(ARGV[4])
    if what == 'revive' then send(body) end
    return {'ok'}
end

-- 'look': ready or dead, how many, how many bytes.
local found, bytes = {}, 0
for _, id in ipairs(redis.call('ZRANGE', ARGV[4] == 'dead' and dead or ready, 0, tonumber(ARGV[5]) - 1)) do
    local one = message(id)
    bytes = bytes + #one[3]
    if bytes > tonumber(ARGV[6]) and #found > 0 then break end
    found[#found + 1] = one
end
return found
