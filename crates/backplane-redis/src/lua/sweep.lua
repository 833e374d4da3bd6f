-- Lets go of what nobody publishes to any more: first of events that are too old, much later of the topic itself. Then the
-- floor rises to its last id, so that a loss is never silent.
--
-- KEYS  1 meta  2 topics  3 names  4 recent  5 due  6 nodes; and the streams of the topics that are found, which share their
--       hash tag
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era  4 what a stream's key begins with
--       5 most topics to touch  6 for how long a topic is remembered after its last event (ms)  7 most topics to remember
--       8 node
-- Gives 1 if there may be more to do, else 0

local now, own = clocks(ARGV[1])
local _, _, floor = open(KEYS[1], now, ARGV[2], ARGV[3])
local limit = tonumber(ARGV[5])
present(KEYS[1], KEYS[6], ARGV[8], own)
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', string.format('%.0f', own - NODE_MS))

local expired = redis.call('ZRANGE', KEYS[5], '-inf', string.format('(%.0f', own), 'BYSCORE', 'LIMIT', 0, limit)
for _, topic in ipairs(expired) do
  local last, events = expire(KEYS[1], KEYS[2], KEYS[5], ARGV[4] .. topic, topic, own)
  if not last or events == 0 then
    redis.call('ZREM', KEYS[5], topic)
    redis.call('DEL', ARGV[4] .. topic)
  end
end

local silent = redis.call('ZRANGE', KEYS[4], '-inf', string.format('%.0f', own - tonumber(ARGV[6])), 'BYSCORE',
  'LIMIT', 0, limit)
local excess = math.min(limit, redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[7]))
if excess > #silent then
  silent = redis.call('ZRANGE', KEYS[4], 0, excess - 1)
end
local floor_ms, floor_seq = split(floor)
for _, topic in ipairs(silent) do
  local known = redis.call('HGET', KEYS[2], topic)
  if known then
    local last, events, bytes = parse(known)
    local ms, seq = split(last)
    if above(ms, seq, floor_ms, floor_seq) then
      floor_ms, floor_seq = ms, seq
    end
    add(KEYS[1], -events, -bytes)
    redis.call('HDEL', KEYS[2], topic)
  end
  redis.call('DEL', ARGV[4] .. topic)
  redis.call('ZREM', KEYS[3], topic)
  redis.call('ZREM', KEYS[4], topic)
  redis.call('ZREM', KEYS[5], topic)
end
if #silent > 0 then
  redis.call('HSET', KEYS[1], 'floor', text(floor_ms, floor_seq))
end
return (#expired == limit or #silent == limit) and 1 or 0
