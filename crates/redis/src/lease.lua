-- Takes tokens from buckets, from all of them or from none, and puts back what servers have not used.
--
-- KEYS: the buckets. ARGV, for each: microseconds of a token, tokens of a burst, tokens wanted, tokens
-- needed, tokens returned. The answer, for each: tokens given, tokens left, microseconds until the
-- bucket is full, microseconds until the needed tokens are there.
--
-- A bucket is the time at which it will be full, in microseconds by the clock of Redis, which is the
-- clock of all servers, and the time at which that was written: if the clock was set back since then,
-- the bucket moves with it, instead of staying empty until the clock is there again.
local LARGEST = 9007199254740991
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local answer, buckets, is_there = {}, {}, true

for i, key in ipairs(KEYS) do
  local token, burst = tonumber(ARGV[5 * i - 4]), tonumber(ARGV[5 * i - 3])
  local want, need = tonumber(ARGV[5 * i - 2]), tonumber(ARGV[5 * i - 1])
  local returned = tonumber(ARGV[5 * i])
  local full_at = now
  local kept = redis.call('GET', key)
  if kept then
    local at, written = string.match(kept, '^(%S+) (%S+)$')
    at, written = tonumber(at), tonumber(written)
    if at and written then
      full_at = at - math.max(0, written - now)
    end
  end
  full_at = math.max(now, full_at - returned * token)
  local left = math.floor(burst - (full_at - now) / token + 0.000001)
  local given, wait = 0, 0
  if left >= need then
    given = math.max(need, math.min(want, left))
  elseif full_at <= now then
    -- More than a burst passes if the bucket is full. What it lacks is owed.
    given = need
  else
    wait = math.min(full_at - now, need * token - (burst * token - (full_at - now)))
    is_there = false
  end
  buckets[i] = { token, burst, full_at, given, wait }
end

for i, key in ipairs(KEYS) do
  local token, burst, full_at, given, wait = unpack(buckets[i])
  if is_there then
    full_at = full_at + given * token
  else
    given = 0
  end
  local full_in = full_at - now
  if full_in > 0 then
    local value = string.format('%.2f %d', full_at, now)
    redis.call('SET', key, value, 'PX', math.ceil(math.min(full_in, LARGEST) / 1000) + 1000)
  else
    redis.call('DEL', key)
  end
  answer[#answer + 1] = given
  answer[#answer + 1] = math.max(0, math.floor(burst - full_in / token + 0.000001))
  answer[#answer + 1] = math.min(math.ceil(full_in), LARGEST)
  answer[#answer + 1] = math.min(math.ceil(wait), LARGEST)
end
return answer
