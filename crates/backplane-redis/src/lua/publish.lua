-- Stores an event and tells it, or finds that its idempotency key was seen.
--
-- KEYS  1 meta  2 topics  3 names  4 recent  5 due  6 stream of the topic  7 idempotency key (left out if there is none)
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 topic  4 type or ''  5 data
--       6 most events of the topic  7 longest age (ms)  8 age of the idempotency key (ms)
--       9 channel of the topic  10 channel of the partition  11 PUBLISH, or SPUBLISH in a cluster
-- Gives {id, 1 if the key was seen, else 0}

if KEYS[7] then
  local known = redis.call('GET', KEYS[7])
  if known then
    return { known, 1 }
  end
end

local now, own = clocks(ARGV[1])
local ms, seq, floor, events, bytes = open(KEYS[1], now, ARGV[2])
local topic, kind, data = ARGV[3], ARGV[4], ARGV[5]
local known = redis.call('HGET', KEYS[2], topic)
local prev, had, had_bytes = floor, 0, 0
if known then
  prev, had, had_bytes = parse(known)
end

ms, seq = after(ms, seq, now)
local age, most = tonumber(ARGV[7]), tonumber(ARGV[6])
local oldest = string.format('%.0f', math.max(0, own - age))
local id = text(ms, seq)
local added = redis.pcall('XADD', KEYS[6], 'MINID', '=', oldest, id, 'e', kind, 'p', prev, 'd', data)
if type(added) == 'table' and added.err and string.find(added.err, 'equal or smaller', 1, true) then
  -- Somebody else wrote to the stream. Go on above that, as long as it is an id that we can have.
  local info = redis.call('XINFO', 'STREAM', KEYS[6])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local top_ms, top_seq = split(info[i + 1])
      ms, seq = after(top_ms, top_seq, now)
    end
  end
  if ms > MS_MAX then
    return redis.error_reply('ERR the stream of topic ' .. topic .. ' has a foreign id beyond all time; delete the key')
  end
  id = text(ms, seq)
  added = redis.pcall('XADD', KEYS[6], 'MINID', '=', oldest, id, 'e', kind, 'p', prev, 'd', data)
end
if type(added) == 'table' and added.err then
  return added
end

local held = redis.call('XLEN', KEYS[6])
if held > most then
  redis.call('XTRIM', KEYS[6], 'MAXLEN', '=', most)
  held = most
end
-- What was trimmed is taken to have been as large as the rest: to know better would mean to read it.
local left = math.floor((had_bytes + #data + #kind + 96) * math.min(1, held / (had + 1)))
redis.call('HSET', KEYS[2], topic, record(id, held, left, age))
redis.call('HSET', KEYS[1], 'head', id, 'events', string.format('%.0f', events + held - had), 'bytes',
  string.format('%.0f', bytes + left - had_bytes))
redis.call('ZADD', KEYS[4], ms, topic)
redis.call('ZADD', KEYS[5], ms + age, topic)
if not known then
  redis.call('ZADD', KEYS[3], 0, topic)
end
if KEYS[7] then
  redis.call('SET', KEYS[7], id, 'PX', ARGV[8])
end

local message = table.concat({ 'e ', id, ' ', prev, ' ', #kind, ' ', #topic, ' ', kind, topic, data })
redis.call(ARGV[11], ARGV[9], message)
redis.call(ARGV[11], ARGV[10], message)
return { id, 0 }
