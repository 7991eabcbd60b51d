-- Adds stretches of an instance's journal to the counters of links, unless these include them already. All stretches in a call add to the
-- same fields, which nearly all clicks of one moment do: then the fields are named once, and a link costs half of what a call of its own does.
-- A link's HSET sets the new absolute counts and the new position together, so that neither can be had without the other. Calls with several
-- links stand in the append-only file as transactions: only for a Redis that takes such, see connection.rs.
-- KEYS clicks:{code}...   ARGV[1] position field   ARGV[2] new position   ARGV[3] number of fields, then the fields
-- then for each key: the positions between which its counters must stand, and an increment for each field
-- Answers for each key the position at which its counters stand after the call: ARGV[2] when they include the stretch; nothing when they are
-- damaged, so that one link's damage keeps nobody else's clicks waiting.
-- Position and counts are read at once, and counts written by %d: Redis' own way of writing numbers, %.17g, costs as much as reading them did.
local call, pcall, format = redis.call, redis.pcall, string.format
local fields = tonumber(ARGV[3])
local read = { ARGV[1] }
local write = { ARGV[1], ARGV[2] }
for i = 1, fields do
  read[i + 1] = ARGV[3 + i]
  write[2 * i + 1] = ARGV[3 + i]
  write[2 * i + 2] = ''
end

-- `at`: where the key's arguments begin.
local function apply(key, at)
  local found = pcall('HMGET', key, unpack(read))
  if found.err then
    if string.find(found.err, 'WRONGTYPE', 1, true) then
      return false
    end
    error(found)
  end
  local position = tonumber(found[1] or 0)
  if not position then
    return false
  end
  if position < tonumber(ARGV[at]) or position > tonumber(ARGV[at + 1]) then
    return position
  end
  for i = 1, fields do
    local count = tonumber(found[i + 1] or 0)
    if not count then
      return false
    end
    write[2 * i + 2] = format('%d', count + ARGV[at + 1 + i])
  end
  call('HSET', key, unpack(write))
  return tonumber(ARGV[2])
end

local stands = {}
for k = 1, #KEYS do
  stands[k] = apply(KEYS[k], 4 + fields + (k - 1) * (2 + fields))
end
return stands
