-- The newest id of a partition and its floor; notes that the caller is there; and a beat on the caller's own channel, which
-- reaches the caller after every event up to that id.
--
-- KEYS  1 meta  2 nodes
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era  4 node
--       5 channel for the beat, or '' for none  6 PUBLISH or SPUBLISH  7 text of the beat, to which the head is added
-- Gives {head, floor, how often a node was new here}

local now, own = clocks(ARGV[1])
local ms, seq, floor = open(KEYS[1], now, ARGV[2], ARGV[3])
local head = text(ms, seq)
local joins = present(KEYS[1], KEYS[2], ARGV[4], own)
if ARGV[5] ~= '' then
  redis.call(ARGV[6], ARGV[5], ARGV[7] .. ' ' .. head)
end
return { head, floor, joins }
