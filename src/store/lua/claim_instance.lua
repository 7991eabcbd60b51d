-- Notes that an instance counts clicks under its name. Answers 1, or 0 when the name was given up and must not be used any more.
-- KEYS[1] instances   ARGV[1] the instance's name
local state = redis.call('HGET', KEYS[1], ARGV[1])
if state and string.find(state, '^retired') then
  return 0
end
if state ~= 'running' then
  redis.call('HSET', KEYS[1], ARGV[1], 'running')
end
return 1
