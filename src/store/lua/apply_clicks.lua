-- Adds stretches of an instance's journal to the counters of links, unless these include them already. All stretches in a call add the same to
-- the same fields, as those of most links do: one click, of this day and hour. Then that is said once, and a link costs half of what a call of
-- its own does. A link's HSET sets the new absolute counts and the new position together, so that neither can be had without the other. Calls
-- with several links stand in the append-only file as transactions: only for a Redis that takes such, see connection.rs.
-- KEYS clicks:{code}...   ARGV[1] position field   ARGV[2] new position   ARGV[3] number of fields, then each field and its increment
-- then the position up to which counters may stand, and for each key the one from which on they must
-- Answers for each key the position at which its counters stand after the call: ARGV[2] when they include the stretch; nothing when they are
-- damaged, so that one link's damage keeps nobody else's clicks waiting.
-- Position and counts are read at once, and counts written by %d: Redis' own way of writing numbers, %.17g, costs as much as reading them did.
local call, pcall, format = redis.call, redis.pcall, string.format
local position, fields = tonumber(ARGV[2]), tonumber(ARGV[3])
local last = 4 + 2 * fields
local before = tonumber(ARGV[last])
local read = { ARGV[1] }
local write = { ARGV[1], ARGV[2] }
local increments = {}
for i = 1, fields do
  read[i + 1] = ARGV[2 * i + 2]
  write[2 * i + 1] = ARGV[2 * i + 2]
  write[2 * i + 2] = ''
  increments[i] = tonumber(ARGV[2 * i + 3])
end

local function apply(key, after)
  local found = pcall('HMGET', key, unpack(read))
  if found.err then
    if string.find(found.err, 'WRONGTYPE', 1, true) then
      return false
    end
    error(found)
  end
  local stand = tonumber(found[1] or 0)
  if not stand then
    return false
  end
  if stand < after or stand > before then
    return stand
  end
  for i = 1, fields do
    local count = tonumber(found[i + 1] or 0)
    if not count then
      return false
    end
    write[2 * i + 2] = format('%d', count + increments[i])
  end
  call('HSET', key, unpack(write))
  return position
end

local stands = {}
for k = 1, #KEYS do
  stands[k] = apply(KEYS[k], tonumber(ARGV[last + k]))
end
return stands
