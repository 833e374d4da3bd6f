-- What a partition holds. Events of silent topics count until they are swept.
--
-- KEYS  1 meta  2 topics
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era
-- Gives {events, bytes, topics}

local now = clocks(ARGV[1])
local _, _, _, events, bytes = open(KEYS[1], now, ARGV[2], ARGV[3])
return { events, bytes, redis.call('HLEN', KEYS[2]) }
