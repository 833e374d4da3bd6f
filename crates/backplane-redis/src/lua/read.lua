-- Reads a topic's events after an id, and what is lost of it.
--
-- KEYS  1 meta  2 topics  3 due  4 stream of the topic
-- ARGV  1 now (ms)  2 newest id that the caller has seen of the partition  3 era  4 topic  5 after which id
--       6 most events  7 most bytes of data (one event may have more)
-- Gives {head of the partition, newest id of the topic that is not retained or 0-0, 1 if there is more, else 0,
--        {id, type, prev, data, id, type, prev, data, ...}}

local now, own = clocks(ARGV[1])
local ms, seq = open(KEYS[1], now, ARGV[2], ARGV[3])
local head = text(ms, seq)
local last, events = expire(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[4], own)
if not last then
  return { head, '0-0', 0, {} }
elseif events == 0 then
  return { head, last, 0, {} }
end

-- The oldest retained event names the one before it: the newest that is lost.
local trimmed, from = last, '-'
while from do
  local page = redis.call('XRANGE', KEYS[4], from, '+', 'COUNT', 1)
  if #page == 0 then
    break
  elseif valid(page[1]) then
    trimmed = page[1][2][4]
    break
  end
  from = '(' .. page[1][1]
end

local limit, room = tonumber(ARGV[6]), tonumber(ARGV[7])
local found, count, size, more = {}, 0, 0, 0
from = '(' .. ARGV[5]
local PAGE = 32
while from do
  local page = redis.call('XRANGE', KEYS[4], from, '+', 'COUNT', PAGE)
  from = #page == PAGE and '(' .. page[PAGE][1] or nil
  for _, entry in ipairs(page) do
    if valid(entry) then
      local fields = entry[2]
      size = size + #fields[6]
      if count == limit or (count > 0 and size > room) then
        more, from = 1, nil
        break
      end
      local at = count * 4
      found[at + 1], found[at + 2], found[at + 3], found[at + 4] = entry[1], fields[2], fields[4], fields[6]
      count = count + 1
    end
  end
end
return { head, trimmed, more, found }
