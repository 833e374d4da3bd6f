-- Which server this is, and which nodes are there.

-- After how long without a call a node is forgotten: far longer than it may be late and still be awaited.
local NODE_MS = 600000

-- What names this server, and no other and no other start of it.
local function server()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end

local function server_of(era)
  return string.match(era, '^%x+')
end

-- Notes that a node is there. Gives how often any was new.
local function present(meta, nodes, node, own)
  if redis.call('ZADD', nodes, string.format('%.0f', own), node) == 1 then
    return redis.call('HINCRBY', meta, 'joins', 1)
  end
  return tonumber(redis.call('HGET', meta, 'joins')) or 0
end
