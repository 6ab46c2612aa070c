-- Returns the pending keys with the lowest mids, each followed by its mid.
--
-- KEYS pending
-- ARGV limit
local out = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
for i = 2, #out, 2 do out[i] = string.format('%.0f', out[i]) end
return out
