-- What is known of the topics in a range of names, in order.
--
-- KEYS  1 meta  2 topics  3 names  4 due; and the streams of the topics that are found, which share their hash tag
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era
--       4, 5 the range, as ZRANGE BYLEX takes it  6 most topics  7 what a stream's key begins with
-- Gives {topic, last id, events, bytes, first id or '', ...}

local now, own = clocks(ARGV[1])
open(KEYS[1], now, ARGV[2], ARGV[3])
local out = {}
for _, topic in ipairs(redis.call('ZRANGE', KEYS[3], ARGV[4], ARGV[5], 'BYLEX', 'LIMIT', 0, ARGV[6])) do
  local stream = ARGV[7] .. topic
  local last, events, bytes = expire(KEYS[1], KEYS[2], KEYS[4], stream, topic, own)
  if last then
    local first = events > 0 and redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local at = #out
    out[at + 1], out[at + 2], out[at + 3], out[at + 4] = topic, last, events, bytes
    out[at + 5] = first and first[1] or ''
  end
end
return out
