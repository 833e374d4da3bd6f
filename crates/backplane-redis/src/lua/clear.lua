-- Takes all events of a topic away. Its record stays, so that what is lost can be told.
--
-- KEYS  1 meta  2 topics  3 due  4 stream of the topic
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era  4 topic
-- Gives how many events there were

local now, own = clocks(ARGV[1])
open(KEYS[1], now, ARGV[2], ARGV[3])
local last, events, bytes, age = expire(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[4], own)
if not last or events == 0 then
  return 0
end
redis.call('DEL', KEYS[4])
redis.call('ZREM', KEYS[3], ARGV[4])
redis.call('HSET', KEYS[2], ARGV[4], record(last, 0, 0, age))
add(KEYS[1], -events, -bytes)
return events
