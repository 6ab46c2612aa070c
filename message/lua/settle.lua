-- Takes keys out of the pending set whose mid is still the one given.
--
-- KEYS pending
-- ARGV key, mid, key, mid, ...
for i = 1, #ARGV, 2 do
  local mid = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if mid and tonumber(mid) == tonumber(ARGV[i + 1]) then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return 1
