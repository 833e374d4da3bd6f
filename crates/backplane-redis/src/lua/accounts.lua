-- Who may log in, as far as it is kept here: names and what is known of them.
--
-- KEYS  1 accounts (hash)  2 their names (zset, all with score 0: in order)
-- ARGV  1, 2, 3 unused here  4 what to do, and then
--       'get'  5 name                                  gives what is known, or nothing
--       'put'  5 name  6 what is known  7 most         gives 1, or 0 if there are too many
--       'new'  5 name  6 what is known  7 most         gives 1, 2 if the name is taken, or 0 if there are too many
--       'del'  5 name                                  gives 1 if it was there, else 0
--       'list' 5 after which name, or ''  6 most       gives {name, what is known, ...}

local what, name = ARGV[4], ARGV[5]
if what == 'get' then
  return redis.call('HGET', KEYS[1], name)
elseif what == 'del' then
  redis.call('ZREM', KEYS[2], name)
  return redis.call('HDEL', KEYS[1], name)
elseif what == 'list' then
  local from = name == '' and '-' or '(' .. name
  local out = {}
  for _, one in ipairs(redis.call('ZRANGE', KEYS[2], from, '+', 'BYLEX', 'LIMIT', 0, ARGV[6])) do
    out[#out + 1] = one
    out[#out + 1] = redis.call('HGET', KEYS[1], one) or ''
  end
  return out
end
local known = redis.call('HGET', KEYS[1], name)
if known and what == 'new' then
  return 2
elseif not known and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[7]) then
  return 0
end
redis.call('HSET', KEYS[1], name, ARGV[6])
redis.call('ZADD', KEYS[2], 0, name)
return 1
