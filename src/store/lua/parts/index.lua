-- Parts of an index, see index.rs: what the scripts that write to one share. Every write is
-- absolute and may be repeated.
-- ARGV[1] entries that a part holds at most   ARGV[2] how far before an index's begin a part is
-- opened, in ms
local entries_max, before_ms = tonumber(ARGV[1]), tonumber(ARGV[2])

local function text(number)
  return string.format('%.0f', number)
end

local function part(index, start)
  return index .. ':' .. text(start)
end

local function open(index, start)
  redis.call('ZADD', index, text(start), text(start))
  return start
end

-- Where the part starts that an entry of this time belongs to, and where the next one does; nothing
-- where there is none.
local function find(index, created)
  local last = tonumber(redis.call('ZRANGE', index, -1, -1)[1])
  if not last or created >= last then
    return last, nil
  end
  local start = redis.call('ZRANGE', index, created, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1]
  local following = redis.call('ZRANGE', index, '(' .. text(created), '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
  return tonumber(start), tonumber(following)
end

-- Moves the later half of a full part to one of its own; entries of one millisecond stay together.
-- Answers whether it could: not when all are of one millisecond.
local function split(index, start)
  local here = part(index, start)
  local all = redis.call('ZRANGE', here, 0, -1, 'WITHSCORES')
  local half = 2 * math.floor(#all / 4) + 2
  while half <= #all and all[half] == all[2] do
    half = half + 2
  end
  if half > #all then
    return false
  end
  local boundary = tonumber(all[half])
  local moved = redis.call('ZRANGE', here, boundary, '+inf', 'BYSCORE', 'WITHSCORES')
  for i = 1, #moved, 2 do
    redis.call('ZADD', part(index, start + boundary), tonumber(moved[i + 1]) - boundary, moved[i])
  end
  open(index, start + boundary)
  for i = 1, #moved, 2 do
    redis.call('ZREM', here, moved[i])
  end
  return true
end

-- Adds entries, a time and a code each, from one place of a list to another. Answers how many
-- weren't there.
local function add(index, entries, at, last)
  local added = 0
  while at <= last do
    local created = tonumber(entries[at])
    local start, following = find(index, created)
    local room = entries_max
    if not start then
      start = open(index, following and created - before_ms or created)
    else
      local here = part(index, start)
      room = room - redis.call('ZCARD', here)
      if room <= 0 then
        local offset = created - start
        if tonumber(redis.call('ZSCORE', here, entries[at + 1]) or 'nan') == offset then
          at = at + 2
        elseif offset > tonumber(redis.call('ZRANGE', here, -1, -1, 'WITHSCORES')[2]) then
          start, room = open(index, created), entries_max
        elseif not split(index, start) then
          -- As many as are of this millisecond.
          following, room = created + 1, math.huge
        end
      end
    end
    local new = {}
    while at <= last and #new < 2 * room do
      created = tonumber(entries[at])
      if created < start or following and created >= following then
        break
      end
      new[#new + 1] = created - start
      new[#new + 1] = entries[at + 1]
      at = at + 2
    end
    if #new > 0 then
      added = added + redis.call('ZADD', part(index, start), unpack(new))
    end
  end
  return added
end

-- Removes a code that stands at just this time; tells whether it did. A part that is empty goes
-- with its last entry.
local function remove(index, created, code)
  local start = redis.call('ZRANGE', index, created, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1]
  if not start then
    return false
  end
  local here = index .. ':' .. start
  local offset = tonumber(created) - tonumber(start)
  local is_there = tonumber(redis.call('ZSCORE', here, code) or 'nan') == offset
  if is_there then
    redis.call('ZREM', here, code)
  end
  if redis.call('EXISTS', here) == 0 then
    redis.call('ZREM', index, start)
  end
  return is_there
end
