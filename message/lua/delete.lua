-- Drops the messages of a key and keeps its record.
--
-- KEYS messages, record
-- ARGV now, near, kept
local messages, rec = KEYS[1], KEYS[2]
local now, near, kept = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])

local r = record(rec)
r.last = newest(messages, r.last, near)
local dropped = redis.call('DEL', messages) -- first: a Redis that is full lets only those write who have made room
if r.last ~= '0' then
  r.till, r.card, r.soon = math.max(r.till, now + kept), 0, math.huge
  put_record(rec, r, now)
end
return dropped
