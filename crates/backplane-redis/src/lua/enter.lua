-- The first thing that a node does on a server, or when it was answered CENSUS: it learns the era, or that a census is open,
-- which it opens if need be.
--
-- Beside the era, meta says up to which id the floor has told of everything that was lost (known): what another server gave
-- before a census that was not whole ended. It may have gone on giving ids after that, and nobody has been told of these.
--
-- In meta, a census is: census: the era that will begin; base: the head that survived; opened, until (ms); top: the newest
-- id that any node has seen; had: how often a node was new, as far as that survived, and told: the most that any node knows
-- of; newcomers: nodes that took part and are not known here; stage: '' while events are handed in, then 'closing'; why: ''
-- or what it lacks; handed, restored: events.
--
-- KEYS  1 meta  2 nodes  3 eras  4 awaited  5 came
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era that the caller knows, or ''  4 node
--       5 how much older than the newest a node's last call may be, for it to be awaited (ms)
--       6 how long to wait for nodes (ms)  7 what a node's channel begins with  8 PUBLISH or SPUBLISH
--       9 what to tell nodes that are awaited, to which the era is added
-- Gives {'ready', era, head, how often a node was new here}, or {'census', its era, base, stage}

local now, own = clocks(ARGV[1])
local here = server()
local time = redis.call('TIME')
local next_era = here .. ':' .. time[1] .. '.' .. time[2]
local seen_ms, seen_seq = split(ARGV[2])
local got = redis.call('HMGET', KEYS[1], 'head', 'floor', 'era', 'census', 'base', 'stage', 'known', 'why')
local head, era, census, base, stage, why = got[1], got[3], got[4], got[5], got[6], got[8] or ''

-- Whether the caller comes from another era, in which it may have seen what no census knew of.
local function late()
  if ARGV[3] == '' or ARGV[3] == era or redis.call('HGET', KEYS[5], ARGV[4]) == ARGV[3] then
    return false
  end
  local known_ms, known_seq = split(got[7] or '0-0')
  local own_ms, own_seq = split(redis.call('HGET', KEYS[3], ARGV[3]) or '0-0')
  return above(seen_ms, seen_seq, known_ms, known_seq) and above(seen_ms, seen_seq, own_ms, own_seq)
end
local LATE = 'a node came that was in no census and had seen more than survived'

if not head or not got[2] then
  if server_of(ARGV[3]) == here then
    next_era = ARGV[3]
  end
  local ms, seq = after(seen_ms, seen_seq, now)
  head = begin(KEYS[1], ms, seq, next_era)
  redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
  return { 'ready', next_era, head, present(KEYS[1], KEYS[2], ARGV[4], own) }
end
if census and server_of(census) == here then
  if stage == '' and ARGV[3] ~= census and redis.call('SISMEMBER', KEYS[4], ARGV[4]) == 0 and late() then
    redis.call('HSET', KEYS[1], 'why', LATE)
  end
  return { 'census', census, base, stage }
end

if not census and era and server_of(era) == here then
  if not late() then
    return { 'ready', era, head, present(KEYS[1], KEYS[2], ARGV[4], own) }
  end
  why = LATE
end

-- What was handed in to a census that a change of server cut short stays; who was awaited or done with it must come again,
-- however old the calls are by which it is known here.
if census then
  local came = redis.call('HGETALL', KEYS[5])
  for i = 1, #came, 2 do
    redis.call('SADD', KEYS[4], came[i])
  end
else
  base = head
  redis.call('DEL', KEYS[4])
  redis.call('HSET', KEYS[1], 'top', head, 'told', 0, 'handed', 0, 'restored', 0)
end
if stage == 'closing' then
  why = 'the server changed while events were put back'
end
redis.call('DEL', KEYS[5])
local newest = redis.call('ZRANGE', KEYS[2], 0, 0, 'REV', 'WITHSCORES')[2]
if newest then
  local least = string.format('%.0f', tonumber(newest) - tonumber(ARGV[5]))
  for _, node in ipairs(redis.call('ZRANGE', KEYS[2], least, '+inf', 'BYSCORE')) do
    redis.call('SADD', KEYS[4], node)
  end
end
for _, node in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  redis.call(ARGV[8], ARGV[7] .. node, ARGV[9] .. ' ' .. next_era)
end
redis.call('HSET', KEYS[1], 'census', next_era, 'base', base, 'stage', '', 'why', why, 'newcomers', 0, 'opened',
  string.format('%.0f', own), 'until', string.format('%.0f', own + tonumber(ARGV[6])), 'had',
  redis.call('HGET', KEYS[1], 'joins') or 0)
return { 'census', next_era, base, '' }
