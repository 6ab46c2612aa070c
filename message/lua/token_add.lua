-- Keeps a token, or renews it. The one that ends first makes room for it.
--
-- KEYS tokens: hash → "<expires> <1: renewed by use>"
-- ARGV now, hash, expires, renew ('1' or '0'), most
local tokens, now, hash, most = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[5])

local all = redis.call('HGETALL', tokens)
local live, longest, first, victim = 0, tonumber(ARGV[3])
for i = 1, #all, 2 do
  local expires = tonumber(string.match(all[i + 1], '^%d+') or 0)
  if expires <= now then
    redis.call('HDEL', tokens, all[i])
  elseif all[i] ~= hash then
    live = live + 1
    longest = math.max(longest, expires)
    if not first or expires < first then first, victim = expires, all[i] end
  end
end
if live >= most then redis.call('HDEL', tokens, victim) end
redis.call('HSET', tokens, hash, ARGV[3] .. ' ' .. ARGV[4])
redis.call('EXPIRE', tokens, string.format('%.0f', math.max(longest - now, 1)))
return 1
