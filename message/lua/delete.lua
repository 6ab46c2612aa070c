-- Drops the messages of a key and keeps its record.
--
-- KEYS messages, record
-- ARGV now, near, kept
local messages, rec = KEYS[1], KEYS[2]
local now, near, kept = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])

local last, trimmed, till = record(rec)
last = newest(messages, last, near)
if last ~= '0' then put_record(rec, last, trimmed, math.max(till, now + kept), now) end
return redis.call('DEL', messages)
