-- Topics that have events from a time on, with their last ids.
--
-- KEYS  1 meta  2 topics  3 recent
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era  4 from which ms on  5 most topics
-- Gives {head, floor, ms of the last one named, {topic, last id, topic, last id, ...}}

local now = clocks(ARGV[1])
local ms, seq, floor = open(KEYS[1], now, ARGV[2], ARGV[3])
local found = redis.call('ZRANGE', KEYS[3], ARGV[4], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[5], 'WITHSCORES')
local out, upto = {}, ARGV[4]
for i = 1, #found, 2 do
  local known = redis.call('HGET', KEYS[2], found[i])
  if known then
    out[#out + 1] = found[i]
    out[#out + 1] = (parse(known))
  end
  upto = found[i + 1]
end
return { text(ms, seq), floor, string.format('%.0f', tonumber(upto)), out }
