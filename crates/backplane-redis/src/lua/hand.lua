-- Takes in events that the caller holds and this server may have lost. Nothing is put into the streams yet: others may have
-- events of the same topics. The idempotency key of an event is in force from here on.
--
-- KEYS  1 meta  2 handed  3 order; and the idempotency keys
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era that the census will begin
--       4 how long the census stays open after this at least (ms)  5 how long it may be open at most (ms)
--       6 age of an idempotency key (ms)  7 what a stream's key begins with; and for each event
--       id  topic  type or ''  id of the topic's event before  data  most events of the topic  longest age (ms)
--       which of KEYS is its idempotency key, or 0
--
-- Where a key is in force for another id, this server had stored the event too: its answer was lost, and nobody was told of
-- that id, for the publisher repeated it at another server. The one that was told stays.
--
-- Gives how many of them were new

local _, own = clocks(ARGV[1])
local got = redis.call('HMGET', KEYS[1], 'census', 'stage', 'until', 'opened')
if got[1] ~= ARGV[3] or got[2] ~= '' or server_of(ARGV[3]) ~= server() then
  refuse()
end
local new = 0
for at = 8, #ARGV, 8 do
  local id, key = ARGV[at], tonumber(ARGV[at + 7])
  local ms, seq = split(id)
  local packed = cmsgpack.pack(ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
  if redis.call('HSETNX', KEYS[2], id, packed) == 1 then
    redis.call('ZADD', KEYS[3], 0, string.format('%014.0f-%07.0f', ms, seq))
    new = new + 1
  end
  if key > 0 then
    local twin = redis.call('GET', KEYS[key])
    if twin and twin ~= id then
      redis.call('XDEL', ARGV[7] .. ARGV[at + 1], twin)
      redis.call('DEL', KEYS[key])
    end
  end
  local left = tonumber(ARGV[6]) - (own - ms)
  if key > 0 and left >= 1 then
    redis.call('SET', KEYS[key], id, 'PX', string.format('%.0f', left), 'NX')
  end
end
redis.call('HINCRBY', KEYS[1], 'handed', new)
local least = math.min(tonumber(got[4]) + tonumber(ARGV[5]), own + tonumber(ARGV[4]))
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', math.max(tonumber(got[3]), least)))
return new
