-- How a topic is written down in `topics`, and an event in its stream.

local function parse(record)
  local last, events, bytes, age = string.match(record, '^(%d+%-%d+) (%d+) (%d+) (%d+)$')
  return last, tonumber(events), tonumber(bytes), tonumber(age)
end

local function record(last, events, bytes, age)
  return last .. string.format(' %d %d %d', events, bytes, age)
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
