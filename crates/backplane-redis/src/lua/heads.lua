-- The newest id of a partition and its floor; and a beat on the caller's own channel, which reaches the caller after
-- every event up to that id.
--
-- KEYS  1 meta
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition
--       3 channel for the beat, or '' for none  4 PUBLISH or SPUBLISH  5 text of the beat, to which the head is added
-- Gives {head, floor}

local now = clocks(ARGV[1])
local ms, seq, floor = open(KEYS[1], now, ARGV[2])
local head = text(ms, seq)
if ARGV[3] ~= '' then
  redis.call(ARGV[4], ARGV[3], ARGV[5] .. ' ' .. head)
end
return { head, floor }
