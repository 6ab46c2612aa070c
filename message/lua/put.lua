-- Keeps a message under the mid it brings. Returns 1, or 0 if another message
-- has this mid.
--
-- KEYS messages, record
-- ARGV now, near, keep, kept, volatile (as in save.lua), mid, expire, tail
local messages, rec = KEYS[1], KEYS[2]
local now, near, keep, kept = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local mid, expire = ARGV[6], tonumber(ARGV[7])
local member = '{"mid":' .. mid .. ARGV[8]
local _, _, _, body = parse(member, mid)

local r = record(rec)
local untouched = ARGV[5] == '1' and r.card == redis.call('ZCARD', messages)
r.last = newest(messages, r.last, near)

for _, other in ipairs(redis.call('ZRANGEBYSCORE', messages, mid, mid)) do
  local its, _, ends, theirs = parse(other, mid)
  local old = string.sub(other, 1, 7) == '{"msg":' -- its mid is what a double left of it
  if theirs == body and (its == mid or old) then
    if ends == 0 or ends >= expire then return 1 end
    redis.call('ZREM', messages, other)
  elseif its == mid then
    return 0
  end
end

redis.call('ZADD', messages, mid, member)
if less(near, mid) then untouched = false else r.last = larger(r.last, mid) end
trim(messages, r, untouched, expire, now, near, keep)
r.till = math.max(r.till, math.max(expire, now) + kept)
put_record(rec, r, now)
if ARGV[5] == '1' then live(messages, expire, now) end
return 1
