-- Returns last, trimmed, next (where to read on if limit was reached, or 0), and
-- then member and mid of each message above after that has not expired, the oldest
-- limit of them.
--
-- KEYS messages, record
-- ARGV now, near, after, limit
local messages, rec = KEYS[1], KEYS[2]
local now, near, after, limit = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])

local r = record(rec)
local out = {newest(messages, r.last, near), r.trimmed, '0'}
if limit <= 0 then return out end

local all = redis.call('ZRANGEBYSCORE', messages, after, '+inf', 'WITHSCORES')
for i = 1, #all, 2 do
  local mid, _, expire = parse(all[i], all[i + 1])
  if less(after, mid) and not expired(expire, now) then
    out[#out + 1] = all[i]
    out[#out + 1] = mid
    limit = limit - 1
    if limit == 0 then
      out[3] = mid
      break
    end
  end
end
return out
