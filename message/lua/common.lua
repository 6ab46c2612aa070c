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

-- record returns last, trimmed, and the second until which the record is kept.
local function record(name)
  local value = redis.call('GET', name)
  if not value then return '0', '0', 0 end
  local last, trimmed, till = string.match(value, '^(%d+) (%d+) (%d+)$')
  if not last then error(name .. ' is no record') end
  return last, trimmed, tonumber(till)
end

local function put_record(name, last, trimmed, till, now)
  redis.call('SET', name, last .. ' ' .. trimmed .. ' ' .. text(till), 'EX', text(math.max(till - now, 1)))
end

-- newest returns the larger of last and the mid of the newest member that is
-- not far ahead of the clock: an old daemon may have put it there.
local function newest(messages, last, near)
  local top = redis.call('ZREVRANGEBYSCORE', messages, near, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not top[1] then return last end
  return larger(last, (parse(top[1], top[2])))
end

-- trim drops what has expired and all but the newest, once there are too many,
-- and returns the largest mid that was pushed out so far. Members far ahead of
-- the clock are counted apart: they are nobody's newer ones.
local function trim(messages, trimmed, now, near, keep)
  if redis.call('ZCARD', messages) <= keep then return trimmed end
  local all = redis.call('ZREVRANGE', messages, 0, -1, 'WITHSCORES')
  local kept, far = 0, 0
  for i = 1, #all, 2 do
    local mid, _, expire = parse(all[i], all[i + 1])
    local out = expired(expire, now)
    if not out and less(near, mid) then
      far = far + 1
      out = far > keep
    elseif not out then
      kept = kept + 1
      out = kept > keep
      if out then trimmed = larger(trimmed, mid) end
    end
    if out then redis.call('ZREM', messages, all[i]) end
  end
  return trimmed
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
