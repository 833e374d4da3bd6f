-- Stands before every script. All of a partition's keys share a hash tag, so one script may touch them all.
--
-- meta    hash    head: newest id of the partition; floor: below it nothing can be known; events, bytes: what is held;
--                 era: which server's keys these are, see below; joins: how often a node was new here;
--                 and while a census is open, what `enter` writes
-- topics  hash    topic -> "<last id> <events> <bytes> <age ms>": exact ids, kept as long as anything is known of a topic
-- names   zset    topics, all with score 0: in order of their names
-- recent  zset    topics by the ms of their last id: what changed since, and what has been silent for longest
-- due     zset    topics that hold events, by the ms at which the newest of them expires
-- stream  stream  one for each topic: fields e (type), p (id of the topic's event before), d (data), in this order
--
-- nodes   zset    nodes by the ms of their last call, this server's clock
-- eras    hash    era that ended in a census -> newest id of it that this server had, when nodes handed in the rest
-- awaited set     nodes whose part in the census is wanted
-- came    hash    node that did its part in the last one -> era that it came from
-- handed  hash    id -> an event that a node handed in; `order`, a zset, has the same ids, so padded that names sort as ids do
--
-- A server that is restarted or promoted may have lost the tail of what was written, and says nothing of it. But its
-- replication id is a new one. So meta names an *era*, "<replication id>:<when it began>", and every script is told the
-- era that its caller knows. Where these three do not agree the script does nothing and answers CENSUS: the caller must
-- `enter` first, which opens a census. Replication copies a prefix of what was written, so what is lost is all that was
-- above the head that survived: nodes hand in what they hold of it (`hand`), say that they have (`report`), and it is put
-- back in order. Then the next era begins.
--
-- Scores are doubles: exact for ms (44 bits), not for whole ids (64 bits). So ids stand in `topics`, as text.

local SEQ_MAX = 1048575
local MS_MAX = 17592186044415
-- How far a node's clock may be from this server's. One wrong clock must not carry the ids of all away.
local SKEW_MS = 1000
-- After how long without a call a node is forgotten: far longer than it may be late and still be awaited.
local NODE_MS = 600000

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

-- What names this server, and no other and no other start of it.
local function server()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end

local function server_of(era)
  return string.match(era, '^%x+')
end

local function refuse()
  error({ err = 'CENSUS the partition is on another server, or lost its place: enter first' })
end

-- Begins with nothing: of what was before this id, nothing can be known.
local function begin(meta, ms, seq, era)
  local start = text(ms, seq)
  redis.call('HDEL', meta, 'census')
  redis.call('HSET', meta, 'head', start, 'floor', start, 'known', start, 'era', era)
  return start
end

-- The partition's state, made if there is none: {ms, seq} of its head, floor, events, bytes. A head below what the caller
-- has seen, on the same server, means that somebody took keys away: ids go on above, and of what was lost nothing can be
-- known.
local function open(meta, now, seen, era)
  -- Of all that is new in each call this costs most: 1 of about 20 microseconds.
  -- Not anywhere in the answer: a replica that was promoted names the server that it followed as well.
  if not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. string.sub(era, 1, 40), 1, true) then
    refuse()
  end
  local seen_ms, seen_seq = split(seen)
  local got = redis.call('HMGET', meta, 'head', 'floor', 'events', 'bytes', 'era', 'census')
  local ms, seq
  if got[1] and got[2] then
    if got[5] ~= era or got[6] then
      refuse()
    end
    ms, seq = split(got[1])
    if not above(seen_ms, seen_seq, ms, seq) then
      return ms, seq, got[2], tonumber(got[3]) or 0, tonumber(got[4]) or 0
    end
    ms, seq = seen_ms, seen_seq
  else
    ms, seq = after(seen_ms, seen_seq, now)
  end
  return ms, seq, begin(meta, ms, seq, era), tonumber(got[3]) or 0, tonumber(got[4]) or 0
end

-- Notes that a node is there. Gives how often any was new.
local function present(meta, nodes, node, own)
  if redis.call('ZADD', nodes, string.format('%.0f', own), node) == 1 then
    return redis.call('HINCRBY', meta, 'joins', 1)
  end
  return tonumber(redis.call('HGET', meta, 'joins')) or 0
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

local function failed(answer)
  return type(answer) == 'table' and answer.err
end

-- Writes an event that is newer than all others of its topic. KEYS 2 to 5 are topics, names, recent and due. Gives how many
-- events and bytes more are held now; or nil and the error, with the event not stored.
local function store(stream, topic, known, ms, seq, prev, kind, data, most, age, own)
  local id = text(ms, seq)
  local _, had, had_bytes = parse(known or '0-0 0 0 0')
  local oldest = string.format('%.0f', math.max(0, own - age))
  local added = redis.pcall('XADD', stream, 'MINID', '=', oldest, id, 'e', kind, 'p', prev, 'd', data)
  if failed(added) then
    return nil, added
  end
  -- A key that somebody made another type of.
  local indexed = redis.pcall('ZADD', KEYS[4], ms, topic)
  if not failed(indexed) then
    indexed = redis.pcall('ZADD', KEYS[5], string.format('%.0f', ms + age), topic)
  end
  if not failed(indexed) and not known then
    indexed = redis.pcall('ZADD', KEYS[3], 0, topic)
  end
  if failed(indexed) then
    redis.call('XDEL', stream, id)
    if redis.call('XLEN', stream) == 0 then
      redis.call('DEL', stream)
    end
    return nil, indexed
  end
  local held = redis.call('XLEN', stream)
  if held > most then
    redis.call('XTRIM', stream, 'MAXLEN', '=', most)
    held = most
  end
  -- What was trimmed is taken to have been as large as the rest: to know better would mean to read it.
  local left = math.floor((had_bytes + #data + #kind + 96) * math.min(1, held / (had + 1)))
  redis.call('HSET', KEYS[2], topic, record(id, held, left, age))
  return held - had, left - had_bytes
end
