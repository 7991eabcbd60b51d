-- Adds one stretch of an instance's journal to a link's counters, unless they include it already. One HSET sets the new absolute
-- counts and the new position together, so that neither can be had without the other, whatever is lost or cut off.
-- KEYS[1] clicks:{code}   ARGV[1] position field   ARGV[2], ARGV[3] positions between which the counters must stand
-- ARGV[4] new position   ARGV[5...] field, increment, ...
-- Answers the position at which the counters stand after the call: ARGV[4] when they include the stretch; nothing when they are damaged,
-- so that one link's damage keeps nobody else's clicks waiting.
local found = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(found) == 'table' then
  if string.find(found.err, 'WRONGTYPE', 1, true) then
    return false
  end
  return found
end
local position = tonumber(found or '0')
if not position then
  return false
end
if position < tonumber(ARGV[2]) or position > tonumber(ARGV[3]) then
  return position
end
local fields = {}
for i = 5, #ARGV, 2 do
  fields[#fields + 1] = ARGV[i]
end
local counts = redis.call('HMGET', KEYS[1], unpack(fields))
local write = { ARGV[1], ARGV[4] }
for i = 1, #fields do
  local count = tonumber(counts[i] or '0')
  if not count then
    return false
  end
  write[#write + 1] = fields[i]
  write[#write + 1] = string.format('%.0f', count + tonumber(ARGV[4 + 2 * i]))
end
redis.call('HSET', KEYS[1], unpack(write))
return tonumber(ARGV[4])
