-- Replaces a text if it is still the one that the caller knows; its expiry stays.
-- KEYS[1] key   ARGV[1] known   ARGV[2] new
-- Answers 1 when the text is the new one, by this call or by its earlier coming.
local found = redis.call('GET', KEYS[1])
if found == ARGV[2] then
  return 1
end
if found ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
