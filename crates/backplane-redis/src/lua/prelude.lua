-- Stands before every script. All of a partition's keys share a hash tag, so one script may touch them all.
--
-- meta    hash    head: newest id of the partition; floor: below it nothing can be known; events, bytes: what is held
-- topics  hash    topic -> "<last id> <events> <bytes> <age ms>": exact ids, kept as long as anything is known of a topic
-- names   zset    topics, all with score 0: in order of their names
-- recent  zset    topics by the ms of their last id: what changed since, and what has been silent for longest
-- due     zset    topics that hold events, by the ms at which the newest of them expires
-- stream  stream  one for each topic: fields e (type), p (id of the topic's event before), d (data), in this order
--
-- Scores are doubles: exact for ms (44 bits), not for whole ids (64 bits). So ids stand in `topics`, as text.

local SEQ_MAX = 1048575
local MS_MAX = 17592186044415
-- How far a node's clock may be from this server's. One wrong clock must not carry the ids of all away.
local SKEW_MS = 1000

local function split(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function text(ms, seq)
  return string.format('%.0f-%.0f', ms, seq)
end

local function above(ms, seq, other_ms, other_seq)
  return ms > other_ms or (ms == other_ms and seq > other_seq)
end

-- The next id after this one, at a clock.
local function after(ms, seq, now)
  if now > ms then
    return now, 0
  elseif seq >= SEQ_MAX then
    return ms + 1, 0
  end
  return ms, seq + 1
end

-- The caller's clock, bent to this server's; and this server's.
local function clocks(asked)
  local time = redis.call('TIME')
  local own = time[1] * 1000 + math.floor(time[2] / 1000)
  local now = tonumber(asked)
  return math.max(own - SKEW_MS, math.min(own + SKEW_MS, now)), own
end

-- The partition's state, made if there is none: {ms, seq} of its head, floor, events, bytes. A head below what the caller
-- has seen means that this server lost its tail: ids go on above, and of what was lost nothing can be known.
local function open(meta, now, seen)
  local seen_ms, seen_seq = split(seen)
  local got = redis.call('HMGET', meta, 'head', 'floor', 'events', 'bytes')
  local ms, seq
  if got[1] and got[2] then
    ms, seq = split(got[1])
    if not above(seen_ms, seen_seq, ms, seq) then
      return ms, seq, got[2], tonumber(got[3]) or 0, tonumber(got[4]) or 0
    end
    ms, seq = seen_ms, seen_seq
  else
    ms, seq = after(seen_ms, seen_seq, now)
  end
  local start = text(ms, seq)
  redis.call('HSET', meta, 'head', start, 'floor', start)
  return ms, seq, start, tonumber(got[3]) or 0, tonumber(got[4]) or 0
end

local function parse(record)
  local last, events, bytes, age = string.match(record, '^(%d+%-%d+) (%d+) (%d+) (%d+)$')
  return last, tonumber(events), tonumber(bytes), tonumber(age)
end

local function record(last, events, bytes, age)
  return string.format('%s %.0f %.0f %.0f', last, events, bytes, age)
end

-- Adds to what the partition holds. Lua writes zero as -0 at times, which Redis does not take.
local function add(meta, events, bytes)
  if events ~= 0 then
    redis.call('HINCRBY', meta, 'events', string.format('%.0f', events))
  end
  if bytes ~= 0 then
    redis.call('HINCRBY', meta, 'bytes', string.format('%.0f', bytes))
  end
end

-- Ours: not what somebody else put into the stream.
local function valid(entry)
  local fields = entry[2]
  if #fields ~= 6 or fields[1] ~= 'e' or fields[3] ~= 'p' or fields[5] ~= 'd' or not split(fields[4]) then
    return false
  end
  local ms, seq = split(entry[1])
  return ms <= MS_MAX and seq <= SEQ_MAX
end

-- Lets go of a topic's events that are too old. Gives its last id, events and bytes, or nothing if it is not known.
local function expire(meta, topics, due, stream, topic, own)
  local known = redis.call('HGET', topics, topic)
  if not known then
    return nil
  end
  local last, events, bytes, age = parse(known)
  if events == 0 then
    return last, 0, 0, age
  end
  redis.call('XTRIM', stream, 'MINID', '=', string.format('%.0f', math.max(0, own - age)))
  local held = redis.call('XLEN', stream)
  if held ~= events then
    local left = math.floor(bytes * math.min(1, held / events))
    redis.call('HSET', topics, topic, record(last, held, left, age))
    add(meta, held - events, left - bytes)
    if held == 0 then
      redis.call('ZREM', due, topic)
    end
    events, bytes = held, left
  end
  return last, events, bytes, age
end
