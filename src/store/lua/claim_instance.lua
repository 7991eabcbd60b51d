-- Replaces what is noted of an instance, unless somebody else has replaced it meanwhile. Answers 1
-- when it is replaced.
-- KEYS[1] instances   ARGV[1] the instance's name   ARGV[2] what was read, empty when there was
-- nothing   ARGV[3] the new note
local state = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if state ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
