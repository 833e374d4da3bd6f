-- Says that the caller has handed in all that it holds, or asks again how the census goes. When all have come that are
-- awaited, or no more time is left, each call puts some of the events back, in the order of their ids; the last one begins
-- the next era.
--
-- If all have come, and each still holds all that it published, then nothing is missing but what was never acknowledged:
-- the floor rises only to an event that another one names as its topic's last and that nobody has. If not, nothing can be
-- known of what was up to the new head. The new head is above every id that was given, by what nodes say or by the clock.
--
-- KEYS  1 meta  2 topics  3 names  4 recent  5 due  6 nodes  7 eras  8 awaited  9 came  10 handed  11 order; and the streams
--       of the topics that were handed in, which share their hash tag
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era that the census will begin  4 node
--       5 1 if the caller holds all that it published above the base, else 0
--       6 how often a node was new, as far as the caller knows; 0 if it knew of nothing before this census
--       7 what a stream's key begins with  8, 9 most events and bytes to put back in one call
--       10 era that the caller came from, or ''
-- Gives {'wait', ms}, {'closing'}, or {'done', base, handed in, restored, why it is not whole or '', head, ms it took}

local ERAS_MAX = 32

local now, own = clocks(ARGV[1])
local names = { 'census', 'stage', 'why', 'until', 'top', 'told', 'had', 'newcomers', 'head', 'floor', 'events', 'bytes',
  'base', 'era', 'known', 'handed', 'restored', 'opened' }
local meta = {}
for i, value in ipairs(redis.call('HMGET', KEYS[1], unpack(names))) do
  meta[names[i]] = value
end
if meta.census ~= ARGV[3] or server_of(ARGV[3]) ~= server() then
  refuse()
end

local function newest(one, other)
  local one_ms, one_seq = split(one)
  local other_ms, other_seq = split(other)
  return above(one_ms, one_seq, other_ms, other_seq) and one or other
end

if meta.stage ~= 'closing' then
  meta.top = newest(ARGV[2], meta.top)
  meta.told = math.max(tonumber(meta.told), tonumber(ARGV[6]))
  if redis.call('HSETNX', KEYS[9], ARGV[4], ARGV[10]) == 1 then
    redis.call('SREM', KEYS[8], ARGV[4])
    if ARGV[6] ~= '0' and not redis.call('ZSCORE', KEYS[6], ARGV[4]) then
      meta.newcomers = redis.call('HINCRBY', KEYS[1], 'newcomers', 1)
    end
    present(KEYS[1], KEYS[6], ARGV[4], own)
  end
  if ARGV[5] ~= '1' then
    meta.why = 'a node no longer holds all that it published'
  end
  local missing = redis.call('SCARD', KEYS[8])
  if missing > 0 and own < tonumber(meta['until']) then
    redis.call('HSET', KEYS[1], 'top', meta.top, 'told', meta.told, 'why', meta.why)
    return { 'wait', tonumber(meta['until']) - own }
  elseif missing > 0 then
    meta.why = missing .. ' of the nodes that were there did not come'
  elseif meta.told - tonumber(meta.had) > tonumber(meta.newcomers) then
    meta.why = 'a node was there that is not known here and did not come'
  end
  redis.call('HSET', KEYS[1], 'top', meta.top, 'told', meta.told, 'why', meta.why, 'stage', 'closing')
end

local events, bytes, restored = tonumber(meta.events) or 0, tonumber(meta.bytes) or 0, tonumber(meta.restored)
local head, floor, taken, size = meta.head, meta.floor, 0, 0
for _, padded in ipairs(redis.call('ZRANGE', KEYS[11], 0, tonumber(ARGV[8]) - 1)) do
  local ms, seq = split(padded)
  local id = text(ms, seq)
  local packed = redis.call('HGET', KEYS[10], id)
  size = size + #packed
  if taken > 0 and size > tonumber(ARGV[9]) then
    break
  end
  taken = taken + 1
  redis.call('HDEL', KEYS[10], id)
  local topic, kind, prev, data, most, age = cmsgpack.unpack(packed)
  local known = redis.call('HGET', KEYS[2], topic)
  local last = known and parse(known) or floor
  local last_ms, last_seq = split(last)
  if not known or above(ms, seq, last_ms, last_seq) then
    if newest(prev, last) ~= last then
      floor = newest(prev, floor)
    end
    local more, more_bytes =
      store(ARGV[7] .. topic, topic, known, ms, seq, prev, kind, data, tonumber(most), tonumber(age), own)
    if more then
      events, bytes, restored = events + more, bytes + more_bytes, restored + 1
    else
      floor = newest(id, floor)
    end
    head = newest(id, head)
  end
end
if taken > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[11], 0, taken - 1)
  redis.call('HSET', KEYS[1], 'head', head, 'floor', floor, 'events', string.format('%.0f', events), 'bytes',
    string.format('%.0f', bytes), 'restored', restored)
end
if redis.call('ZCARD', KEYS[11]) > 0 then
  return { 'closing' }
end

head = newest(meta.top, newest(floor, head))
if meta.why ~= '' or head ~= meta.base then
  head = newest(head, text(own + 2 * SKEW_MS, 0))
end
if meta.why ~= '' then
  floor = head
  -- Not the head: another server may give ids below that from now on, for as long as it does not know that it is deposed.
  redis.call('HSET', KEYS[1], 'known', newest(meta.known or '0-0', text(math.max(0, own - 2 * SKEW_MS), 0)))
end
if meta.era then
  if redis.call('HLEN', KEYS[7]) >= ERAS_MAX then
    redis.call('DEL', KEYS[7])
  end
  redis.call('HSET', KEYS[7], meta.era, meta.base)
end
local joins = math.max(tonumber(redis.call('HGET', KEYS[1], 'joins')) or 0, tonumber(meta.told))
redis.call('HSET', KEYS[1], 'era', meta.census, 'head', head, 'floor', floor, 'joins', joins)
redis.call('HDEL', KEYS[1], 'census', 'base', 'stage', 'why', 'until', 'opened', 'top', 'told', 'had', 'newcomers', 'handed',
  'restored')
redis.call('DEL', KEYS[8], KEYS[10], KEYS[11])
return { 'done', meta.base, meta.handed, restored, meta.why, head, own - tonumber(meta.opened) }
