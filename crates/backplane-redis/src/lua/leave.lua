-- Forgets a node that ends in good order: no census waits for it. Its publishes are all before this in what is replicated.
--
-- KEYS  1 meta  2 nodes
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era  4 node
-- Gives 1 if it was known, else 0

local now = clocks(ARGV[1])
open(KEYS[1], now, ARGV[2], ARGV[3])
return redis.call('ZREM', KEYS[2], ARGV[4])
