-- Stores an event and tells it, or finds that its idempotency key was seen.
--
-- KEYS  1 meta  2 topics  3 names  4 recent  5 due  6 stream of the topic  7 idempotency key (left out if there is none)
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era  4 topic  5 type or ''  6 data
--       7 most events of the topic  8 longest age (ms)  9 age of the idempotency key (ms)
--       10 channel of the topic  11 channel of the partition  12 PUBLISH, or SPUBLISH in a cluster
--       13 name of the idempotency key, or ''  14 the event's traceparent, or ''
-- Gives {id, 1 if the key was seen, else 0, id of the topic's event before}; where the key was seen, without the third if
-- the event is not held any more, and with its {..., type, data} if they are not the ones that came now

local now, own = clocks(ARGV[1])
local ms, seq, floor, events, bytes = open(KEYS[1], now, ARGV[2], ARGV[3])
local topic, kind, data = ARGV[4], ARGV[5], ARGV[6]

if KEYS[7] then
  local seen = redis.call('GET', KEYS[7])
  if seen then
    -- A write, so that a WAIT after this waits for what the key stands for.
    redis.call('SET', KEYS[7], seen, 'KEEPTTL')
    local entry = redis.call('XRANGE', KEYS[6], seen, seen)[1]
    if not entry or not valid(entry) then
      return { seen, 1 }
    end
    local fields = entry[2]
    if fields[2] == kind and fields[6] == data then
      return { seen, 1, fields[4] }
    end
    return { seen, 1, fields[4], fields[2], fields[6] }
  end
end

local known = redis.call('HGET', KEYS[2], topic)
local prev = known and parse(known) or floor
local age, most = tonumber(ARGV[8]), tonumber(ARGV[7])
ms, seq = after(ms, seq, now)
local more, more_bytes, id = store(KEYS[6], topic, known, ms, seq, prev, kind, data, most, age, own)
if not more and string.find(more_bytes.err, 'equal or smaller', 1, true) then
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
  more, more_bytes, id = store(KEYS[6], topic, known, ms, seq, prev, kind, data, most, age, own)
end
if not more then
  return more_bytes
end
redis.call('HSET', KEYS[1], 'head', id, 'events', events + more, 'bytes', bytes + more_bytes)
if KEYS[7] then
  redis.call('SET', KEYS[7], id, 'PX', ARGV[9])
end

if ARGV[14] ~= '' then
  local trace = 't ' .. id .. ' ' .. ARGV[14] .. ' ' .. topic
  redis.call(ARGV[12], ARGV[10], trace)
  redis.call(ARGV[12], ARGV[11], trace)
end
local name = ARGV[13]
local message = 'e ' .. id .. ' ' .. prev .. ' ' .. #kind .. ' ' .. #topic .. ' ' .. #name .. ' ' .. kind .. topic .. name .. data
redis.call(ARGV[12], ARGV[10], message)
redis.call(ARGV[12], ARGV[11], message)
return { id, 0, prev }
