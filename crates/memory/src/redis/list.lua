-- The keys of a namespace that begin with a prefix, as they are at one moment.
-- KEYS: the keys in order; the values lie in the same slot, for they have the same hash tag.
-- ARGV: what the names of values begin with, from where on, the prefix, how many, how many bytes of keys and values.
-- Answers: {"1" if there are more, else "0", then keys and packed values by turns}
local values, from, prefix, most, bytes_max = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local found, count, bytes = {'0'}, 0, 0
while true do
    local names = redis.call('ZRANGE', KEYS[1], from, '+', 'BYLEX', 'LIMIT', 0, 200)
    if #names == 0 then return found end
    for _, name in ipairs(names) do
        if string.sub(name, 1, #prefix) ~= prefix then return found end
        -- One that has expired is not swept yet.
        local packed = redis.call('GET', values .. name)
        if packed then
            local first = string.find(packed, ' ', 1, true)
            local second = string.find(packed, ' ', first + 1, true)
            bytes = bytes + #name + #packed - second
            if count >= most or (bytes > bytes_max and count > 0) then
                found[1] = '1'
                return found
            end
            count = count + 1
            found[#found + 1] = name
            found[#found + 1] = packed
        end
    end
    from = '(' .. names[#names]
end
