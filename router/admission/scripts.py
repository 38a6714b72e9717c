"""What Redis does atomically, in Lua. Nothing newer than Redis 6.2 is used.

Numbers go back and forth as text: Redis would cut the fraction off a number that a script returns.
"""

from __future__ import annotations

from typing import Final

# KEYS: the workers (a sorted set by when they end), then the buckets. ARGV: the worker, a lease's seconds, and for each
# bucket its capacity, its refill a second, then what the worker reports: own, held, demand, release (1 or 0).
# Returns the number of workers, then own, share, total and reserved of each bucket.
#
# A bucket is a hash: `pool` is what no lease holds ("level at woken"), each other field a worker's lease ("own share
# demand at until"). Pool and leases each refill by their share, and hold their share of the capacity at most; the
# pool's share is what the leases leave. So the whole is one token bucket, however it is divided.
#
# When the first lease after none is given, other workers may have begun as well, and each have used its part of the
# bucket unseen. For a moment, in which they come to say so, these parts are reserved.
RENEW: Final = """
local function number(value) return string.format('%.17g', value) end
local function numbers(line)
  local found = {}
  for word in string.gmatch(line, '%S+') do found[#found + 1] = tonumber(word) end
  return unpack(found)
end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local worker, seconds = ARGV[1], tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], number(now + seconds), worker)
redis.call('EXPIRE', KEYS[1], math.ceil(seconds))
local workers = redis.call('ZCARD', KEYS[1])
local answer = { workers }

for i = 2, #KEYS do
  local a = 3 + (i - 2) * 6
  local capacity, rate = tonumber(ARGV[a]), tonumber(ARGV[a + 1])
  local own, held, demand = tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local release = ARGV[a + 5] == '1'

  local pool, at, woken = capacity, now, now
  local mine = false
  local shares, lent, demands, users, back = 0, 0, 0, 1, 0
  local stored = redis.call('HGETALL', KEYS[i])
  local leased = 0
  for f = 1, #stored, 2 do
    if stored[f] == 'pool' then
      pool, at, woken = numbers(stored[f + 1])
    else
      local left, share, wanted, since, ends = numbers(stored[f + 1])
      leased = leased + share
      if ends < now then
        back = back + math.min(left + share * rate * math.max(now - since, 0), share * capacity)
        redis.call('HDEL', KEYS[i], stored[f])
      elseif stored[f] == worker then
        mine = true
      else
        shares, lent, demands, users = shares + share, lent + left, demands + wanted, users + 1
      end
    end
  end
  pool = math.min(pool + (1 - leased) * rate * math.max(now - at, 0), (1 - leased) * capacity) + back
  if not mine then own = own - held end
  if users == 1 and not mine then woken = now end
  local reserved = 0
  if now - woken < 0.3 then reserved = math.max(workers - users, 0) * capacity / workers end

  local share = 0
  if release then
    pool, own = pool + own, 0
    redis.call('HDEL', KEYS[i], worker)
  else
    local some = rate / 50
    share = (demand + some) / (demands + demand + users * some)
    share = math.max(math.min(share, 1 - shares - reserved / capacity), 0)
    local moved = share * capacity - own
    if moved > 0 then moved = math.min(moved, math.max(pool - reserved, 0)) end
    own, pool = own + moved, pool - moved
    local debt = math.min(math.max(own, 0), math.max(-pool, 0))
    own, pool = own - debt, pool + debt
    redis.call('HSET', KEYS[i], worker, table.concat({
      number(own), number(share), number(demand), number(now), number(now + seconds) }, ' '))
  end
  pool = math.min(pool, (1 - shares - share) * capacity)

  local total = pool + lent + own
  if users == 1 and release and pool >= capacity then
    redis.call('DEL', KEYS[i])
  else
    redis.call('HSET', KEYS[i], 'pool', table.concat({ number(pool), number(now), number(woken) }, ' '))
    redis.call('EXPIRE', KEYS[i], math.ceil(math.max(capacity - total, 0) / rate + seconds) + 1)
  end
  for _, value in ipairs({ own, share, total, reserved }) do answer[#answer + 1] = number(value) end
end
return answer
"""

# KEYS: the sums. ARGV: for each sum who spends, what all are known to have spent, how much of that is its own, what it
# has spent by now, and when the sum is no longer needed. Returns the sums.
#
# A sum is a hash: `sum`, and what each spender has spent. What is told twice counts once. Where Redis has lost some of
# it, the sum is the largest that follows from what is left, from what the spender knows, or from the spenders' own.
SPEND: Final = """
local answer = {}
for i = 1, #KEYS do
  local a = 1 + (i - 1) * 5
  local spender, known = ARGV[a], tonumber(ARGV[a + 1])
  local booked, spent = tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local sum, told, others = 0, 0, 0
  local stored = redis.call('HGETALL', KEYS[i])
  for f = 1, #stored, 2 do
    local dollars = tonumber(stored[f + 1])
    if stored[f] == 'sum' then
      sum = dollars
    elseif stored[f] == spender then
      told = dollars
    else
      others = others + dollars
    end
  end
  sum = math.max(sum + math.max(spent - math.max(told, booked), 0), known + spent - booked, others + spent)
  redis.call('HSET', KEYS[i], 'sum', string.format('%.17g', sum))
  if spent > 0 then redis.call('HSET', KEYS[i], spender, string.format('%.17g', spent)) end
  redis.call('EXPIREAT', KEYS[i], ARGV[a + 4])
  answer[i] = string.format('%.17g', sum)
end
return answer
"""
