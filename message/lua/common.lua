-- What the scripts of messages share. Each script is this file and its own.
--
-- Mids go through here as decimal strings. A Lua number is a double: past 2^53
-- it cannot tell the neighbours apart that an old daemon may have made. Ours
-- are multiples of 80 and survive it.
--
-- All checks come before the first write: Redis does not take back what a
-- failing script has written.

local STEP = 80

local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function larger(a, b)
  if less(a, b) then return b end
  return a
end

local function text(number) return string.format('%.0f', number) end

-- of_score returns the mid that a score stands for.
local function of_score(score)
  local n = math.floor(tonumber(score))
  if n <= 0 then return '0' end
  if n >= 9223372036854775807 then return '9223372036854775807' end
  return text(n)
end

-- parse returns mid, nonce, expiry (0: never) and body of a member. The heads
-- of ours hold nothing that a caller chose but the nonce, which has no quotes;
-- old daemons write the expiry last. So no message can pretend to be a head.
local function parse(member, score)
  local mid, nonce, expire, at =
    string.match(member, '^{"mid":(%d+),"nonce":"([%w_%-]*)","expire":(%d+),"msg":()')
  if mid then return mid, nonce, tonumber(expire), string.sub(member, at, -2) end
  local tail
  tail, expire = string.match(string.sub(member, -40), '(,"expire":(%-?%d+)})$')
  return of_score(score), '', tonumber(expire or 0), tail and string.sub(member, 8, -1 - #tail)
end

local function expired(expire, now) return expire ~= 0 and expire <= now end

-- record returns what is known of a key apart from its messages:
--   last     the largest mid so far
--   trimmed  the largest mid that newer ones pushed out before it expired
--   till     second until which the record is kept
--   card     how many members the set had when we last wrote to it
--   soon     none of them expires before; 0: not known
-- If the set has another number of members now, somebody else was at it.
local function record(name)
  local value = redis.call('GET', name)
  if not value then return {last = '0', trimmed = '0', till = 0, card = 0, soon = math.huge} end
  local last, trimmed, till, card, soon = string.match(value, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  if not last then error(name .. ' is no record') end
  return {last = last, trimmed = trimmed, till = tonumber(till), card = tonumber(card), soon = tonumber(soon)}
end

local function put_record(name, r, now)
  local value = table.concat({r.last, r.trimmed, text(r.till), r.card, text(math.min(r.soon, 253402300800))}, ' ')
  redis.call('SET', name, value, 'EX', text(math.max(r.till - now, 1)))
end

-- newest returns the larger of last and the mid of the newest member that is
-- not far ahead of the clock: an old daemon may have put it there.
local function newest(messages, last, near)
  local top = redis.call('ZREVRANGEBYSCORE', messages, near, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not top[1] then return last end
  return larger(last, (parse(top[1], top[2])))
end

-- walk drops what has expired and all but the newest. Members far ahead of the
-- clock are counted apart: they are nobody's newer ones.
local function walk(messages, r, now, near, keep)
  local all = redis.call('ZREVRANGE', messages, 0, -1, 'WITHSCORES')
  local kept, far = 0, 0
  r.soon = math.huge
  for i = 1, #all, 2 do
    local mid, _, expire = parse(all[i], all[i + 1])
    local out = expired(expire, now)
    if not out and less(near, mid) then
      far = far + 1
      out = far > keep
    elseif not out then
      kept = kept + 1
      out = kept > keep
      if out then r.trimmed = larger(r.trimmed, mid) end
    end
    if out then
      redis.call('ZREM', messages, all[i])
    elseif expire ~= 0 then
      r.soon = math.min(r.soon, expire)
    end
  end
  if far > 0 then r.soon = 0 end
end

-- trim makes room after a member was added and brings the record up to date.
-- untouched: only we have written to the set, and nothing far ahead of the clock.
-- Then, while none has expired, the oldest are those that go, and the others
-- need not be read.
local function trim(messages, r, untouched, expire, now, near, keep)
  r.soon = math.min(r.soon, expire)
  local card = redis.call('ZCARD', messages)
  if not untouched then r.soon = 0 end
  if card > keep then
    if now < r.soon then
      local old = redis.call('ZRANGE', messages, 0, card - keep - 1, 'WITHSCORES')
      for i = 1, #old, 2 do
        r.trimmed = larger(r.trimmed, (parse(old[i], old[i + 1])))
        redis.call('ZREM', messages, old[i])
      end
    else
      walk(messages, r, now, near, keep)
    end
    card = redis.call('ZCARD', messages)
  end
  r.card = card
end

-- live raises the time to live of a set to which a member was added, so that it
-- ends some time after its last member. A set that lives for ever is left so,
-- unless that member is all it holds.
local function live(messages, expire, now)
  local want, ttl = math.max(expire - now, 0) + 60, redis.call('TTL', messages)
  if ttl >= 0 and ttl < want or ttl < 0 and redis.call('ZCARD', messages) == 1 then
    redis.call('EXPIRE', messages, text(want))
  end
end
