-- Adds one stretch of an instance's journal to a link's counters, unless they include it already. One HSET sets the new absolute
-- counts and the new position together, so that neither can be had without the other, whatever is lost or cut off. One link a call: a script
-- that writes twice stands in the append-only file as a transaction, and one that is cut off spoils what follows it.
-- KEYS[1] clicks:{code}   ARGV[1] position field   ARGV[2], ARGV[3] positions between which the counters must stand
-- ARGV[4] new position   ARGV[5...] field, increment, ...
-- Answers the position at which the counters stand after the call: ARGV[4] when they include the stretch; nothing when they are damaged,
-- so that one link's damage keeps nobody else's clicks waiting.
-- Position and counts are read at once, and counts written by %d: Redis' own way of writing numbers, %.17g, costs as much as reading them did.
local read = { ARGV[1] }
for i = 5, #ARGV, 2 do
  read[#read + 1] = ARGV[i]
end
local found = redis.pcall('HMGET', KEYS[1], unpack(read))
if found.err then
  if string.find(found.err, 'WRONGTYPE', 1, true) then
    return false
  end
  return found
end
local position = tonumber(found[1] or 0)
if not position then
  return false
end
if position < tonumber(ARGV[2]) or position > tonumber(ARGV[3]) then
  return position
end
local write = { ARGV[1], ARGV[4] }
for i = 2, #read do
  local increment = ARGV[2 * i + 2]
  local count = tonumber(found[i] or 0)
  if not count then
    return false
  end
  write[2 * i - 1] = read[i]
  write[2 * i] = string.format('%d', count + increment)
end
redis.call('HSET', KEYS[1], unpack(write))
return tonumber(ARGV[4])
