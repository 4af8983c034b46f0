-- Takes or gives back the lock of a namespace. It is "RUN UNTIL"; its time is judged here, so that who lost it is known.
-- KEYS: the lock, the runs that lost it. ARGV: "lock", "unlock" or, at the end of the run, "release", the run, its time to live, channel of wake-ups.
-- Answers: {"ok"} | {"held", run, how much longer} | {"lost"}
local holder, until_ms = '', 0
local found = redis.call('GET', KEYS[1])
if found then
    local space = string.find(found, ' ', 1, true)
    holder, until_ms = string.sub(found, 1, space - 1), tonumber(string.sub(found, space + 1))
end
if ARGV[1] ~= 'lock' then
    -- Who lost it is told by its next call with it, unless it makes none any more.
    if ARGV[1] == 'release' then redis.call('SREM', KEYS[2], ARGV[2]) end
    if holder == ARGV[2] then
        redis.call('DEL', KEYS[1])
        redis.call('PUBLISH', ARGV[4], 'free')
    end
    return {'ok'}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if redis.call('SREM', KEYS[2], ARGV[2]) == 1 then return {'lost'} end
if holder ~= '' and holder ~= ARGV[2] then
    if until_ms > now then return {'held', holder, until_ms - now} end
    redis.call('SADD', KEYS[2], holder)
    redis.call('PEXPIRE', KEYS[2], 86400000)
end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. string.format('%.0f', now + tonumber(ARGV[3])), 'PX', tonumber(ARGV[3]) + 86400000)
return {'ok'}
