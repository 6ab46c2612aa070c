-- Decides the mid of a message and keeps it. Returns mid and the last one before
-- it; for a nonce that is there already, the mid of its member twice; for a
-- caller's id that was another message's, 0 twice.
--
-- KEYS messages, record, pending, id (where the caller's id is remembered, or ''
--      if the nonce is none)
-- ARGV now, near, keep, kept (seconds of a record), volatile ('1': set a TTL),
--      least, blind (step past an unknown floor, or '0'), known (or '' to search
--      all members), nonce, expire, tail (msg.MemberTail), pending (the key's
--      own name, or ''), stale (mid below which pending entries are dropped),
--      hash (of the body), remembered (seconds of an id)
local messages, rec, pending, id = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, near, keep, kept = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local least, blind, known, nonce = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local expire, tail = tonumber(ARGV[10]), ARGV[11]

local r = record(rec)
-- Of a set that only we have touched the record says all that matters here.
local untouched = ARGV[5] == '1' and r.card == redis.call('ZCARD', messages)
if not untouched then r.last = newest(messages, r.last, near) end
local last = r.last

local function note(mid)
  if ARGV[12] == '' then return end
  redis.call('ZADD', pending, mid, ARGV[12])
  redis.call('ZREMRANGEBYSCORE', pending, '-inf', '(' .. ARGV[13])
end

-- An id is kept apart from its message, as "<mid> <second it ends> <hash>".
if id ~= '' then
  local value = redis.call('GET', id)
  if value then
    local mid, till, hash = string.match(value, '^(%d+) (%d+) (%x+)$')
    if not mid then error(id .. ' is no id') end
    if not expired(tonumber(till), now) then
      if hash ~= ARGV[14] then return {'0', '0'} end
      note(mid)
      return {mid, mid}
    end
  end
end

if nonce ~= '' and (known == '' or less(known, last)) then
  local from = known == '' and '-inf' or known
  local all = redis.call('ZRANGEBYSCORE', messages, from, '+inf', 'WITHSCORES')
  for i = 1, #all, 2 do
    local mid, other, ends, body = parse(all[i], all[i + 1])
    local gone = id ~= '' and expired(ends, now) -- its caller may use the id again
    if other == nonce and not gone and (known == '' or less(known, mid)) then
      if id ~= '' and body ~= select(4, parse('{"mid":0' .. tail)) then return {'0', '0'} end
      note(mid)
      return {mid, mid}
    end
  end
end

-- The multiple of STEP at or below last. A last that is not ours may have been
-- rounded up to the next multiple on its way into a double.
local below = tonumber(last)
below = below - math.fmod(below, STEP)
if less(last, text(below)) then below = below - STEP end
local mid = below + STEP
if blind > 0 and last ~= '0' then
  if text(below) == last then mid = below end
  mid = mid + blind
end
mid = larger(least, text(mid))

note(mid)
redis.call('ZADD', messages, mid, '{"mid":' .. mid .. tail)
trim(messages, r, untouched, expire, now, near, keep)
r.last, r.till = mid, math.max(r.till, math.max(expire, now) + kept)
put_record(rec, r, now)
if ARGV[5] == '1' then live(messages, expire, now) end
if id ~= '' then
  local value = table.concat({mid, text(now + tonumber(ARGV[15])), ARGV[14]}, ' ')
  redis.call('SET', id, value, 'EX', ARGV[15])
end
return {mid, last}
