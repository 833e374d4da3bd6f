-- Says that a node is there, or is not any more, and who else is.
--
-- KEYS  1 cards
-- ARGV  1, 2, 3 unused here  4 node  5 its card, or '' if it is gone  6 for how long a card holds (ms)
-- Gives {node, card, node, card, ...}

local _, own = clocks(ARGV[1])
local age = tonumber(ARGV[6])
if ARGV[5] == '' then
  redis.call('HDEL', KEYS[1], ARGV[4])
else
  redis.call('HSET', KEYS[1], ARGV[4], string.format('%.0f ', own) .. ARGV[5])
  redis.call('PEXPIRE', KEYS[1], 10 * age)
end
local out, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at, card = string.match(all[i + 1], '^(%d+) (.*)$')
  -- Also one of another server's later time is old, or it would stay.
  if at and math.abs(own - at) <= age then
    out[#out + 1] = all[i]
    out[#out + 1] = card
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return out
