-- Letting go of events.

-- Adds to what the partition holds. Lua writes zero as -0 at times, which Redis does not take.
local function add(meta, events, bytes)
  if events ~= 0 then
    redis.call('HINCRBY', meta, 'events', string.format('%.0f', events))
  end
  if bytes ~= 0 then
    redis.call('HINCRBY', meta, 'bytes', string.format('%.0f', bytes))
  end
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
