-- Returns {2, expires} if the token is live, {1, 0} if only others of the key are,
-- {0, 0} if none is (peer.TokenReply). A token renewed by use gets more time if
-- that gains enough.
--
-- KEYS tokens, as in token_add.lua
-- ARGV now, hash, life, gain
local tokens, now, hash = KEYS[1], tonumber(ARGV[1]), ARGV[2]

local value = redis.call('HGET', tokens, hash)
if value then
  local expires, renew = string.match(value, '^(%d+) (%d)$')
  expires = tonumber(expires or 0)
  if expires > now then
    local life = tonumber(ARGV[3])
    if renew == '1' and now + life - expires >= tonumber(ARGV[4]) then
      -- It is live whether or not Redis takes writes just now.
      local written = redis.pcall('HSET', tokens, hash, string.format('%.0f 1', now + life))
      if type(written) == 'number' then expires = now + life end
      if redis.call('TTL', tokens) < life then redis.pcall('EXPIRE', tokens, life) end
    end
    return {2, expires}
  end
end
for _, other in ipairs(redis.call('HVALS', tokens)) do
  if tonumber(string.match(other, '^%d+') or 0) > now then return {1, 0} end
end
return {0, 0}
