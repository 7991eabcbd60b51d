-- Adds codes to an index, see index.rs. Every write is absolute and may be repeated.
-- KEYS[1] index   ARGV[1] entries that a part holds at most   ARGV[2] how far before an index's begin a part is opened, in ms
-- ARGV[3...] created in ms, code, ...
-- Answers how many entries weren't there before.
local added = 0

local function key(start)
  return KEYS[1] .. ':' .. start
end

local function text(number)
  return string.format('%.0f', number)
end

local function open(created)
  redis.call('ZADD', KEYS[1], text(created), text(created))
  return text(created)
end

-- Moves the later half of a full part to one of its own; entries of one millisecond stay together. Answers where that starts, or nothing
-- when all are of one millisecond.
local function split(start)
  local all = redis.call('ZRANGE', key(start), 0, -1, 'WITHSCORES')
  local half = 2 * math.floor(#all / 4) + 2
  while half <= #all and all[half] == all[2] do
    half = half + 2
  end
  if half > #all then
    return nil
  end
  local boundary = tonumber(all[half])
  local moved = redis.call('ZRANGE', key(start), text(boundary), '+inf', 'BYSCORE', 'WITHSCORES')
  local later = text(tonumber(start) + boundary)
  for i = 1, #moved, 2 do
    redis.call('ZADD', key(later), text(tonumber(moved[i + 1]) - boundary), moved[i])
  end
  redis.call('ZADD', KEYS[1], later, later)
  for i = 1, #moved, 2 do
    redis.call('ZREM', key(start), moved[i])
  end
  return later
end

for i = 3, #ARGV, 2 do
  local created, code = tonumber(ARGV[i]), ARGV[i + 1]
  local start = redis.call('ZRANGE', KEYS[1], ARGV[i], '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1]
  if not start then
    start = open(redis.call('EXISTS', KEYS[1]) == 1 and created - tonumber(ARGV[2]) or created)
  elseif redis.call('ZCARD', key(start)) >= tonumber(ARGV[1]) then
    local last = redis.call('ZRANGE', key(start), -1, -1, 'WITHSCORES')
    if created - tonumber(start) > tonumber(last[2]) then
      start = open(created)
    else
      local later = split(start)
      if later and created >= tonumber(later) then
        start = later
      end
    end
  end
  added = added + redis.call('ZADD', key(start), text(created - tonumber(start)), code)
end
return added
