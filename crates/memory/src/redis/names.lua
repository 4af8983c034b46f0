-- Adds a name to those there are, unless there are too many others. KEYS: the names. ARGV: the name, how many.
-- Answers: 1, or 0 if there is no room.
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 1 end
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
return redis.call('SADD', KEYS[1], ARGV[1])
