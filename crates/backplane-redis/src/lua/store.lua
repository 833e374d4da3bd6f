-- Writing an event.

local function failed(answer)
  return type(answer) == 'table' and answer.err
end

-- Writes an event that is newer than all others of its topic. KEYS 2 to 5 are topics, names, recent and due. Gives how many
-- events and bytes more are held now, and its id; or nil and the error, with the event not stored.
local function store(stream, topic, known, ms, seq, prev, kind, data, most, age, own)
  local id = text(ms, seq)
  local had, had_bytes, _ = 0, 0, nil
  if known then
    _, had, had_bytes = parse(known)
  end
  local oldest = math.max(0, own - age)
  local added = redis.pcall('XADD', stream, 'MINID', '=', oldest, id, 'e', kind, 'p', prev, 'd', data)
  if failed(added) then
    return nil, added
  end
  -- A key that somebody made another type of.
  local indexed = redis.pcall('ZADD', KEYS[4], ms, topic)
  if not failed(indexed) then
    indexed = redis.pcall('ZADD', KEYS[5], ms + age, topic)
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
  return held - had, left - had_bytes, id
end
