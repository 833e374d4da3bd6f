-- Stands before every script, and between them what it needs of the other parts (`scripts.rs`): each function of them is
-- made anew in each call. All of a partition's keys share a hash tag, so one script may touch them all.
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

local function split(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function text(ms, seq)
  return string.format('%d-%d', ms, seq)
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
  local got = redis.call('HMGET', meta, 'head', 'floor', 'events', 'bytes', 'era', 'census')
  local seen_ms, seen_seq, ms, seq
  if got[1] and got[2] then
    if got[5] ~= era or got[6] then
      refuse()
    end
    ms, seq = split(got[1])
    -- Mostly the caller has seen all there is.
    if seen ~= got[1] then
      seen_ms, seen_seq = split(seen)
    end
    if not seen_ms or not above(seen_ms, seen_seq, ms, seq) then
      return ms, seq, got[2], tonumber(got[3]) or 0, tonumber(got[4]) or 0
    end
    ms, seq = seen_ms, seen_seq
  else
    seen_ms, seen_seq = split(seen)
    ms, seq = after(seen_ms, seen_seq, now)
  end
  return ms, seq, begin(meta, ms, seq, era), tonumber(got[3]) or 0, tonumber(got[4]) or 0
end
