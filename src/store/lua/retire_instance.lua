-- Gives up the name of an instance that ended with all its clicks counted, if that was long enough ago and it didn't come back since.
-- Answers 1 when the name is given up, now or before.
-- KEYS[1] instances   ARGV[1] name   ARGV[2] it ended at this time, in ms, or earlier   ARGV[3] now, in ms
local state = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if string.find(state, '^retired') then
  return 1
end
local ended = tonumber(string.match(state, '^ended (%d+)'))
if not ended or ended > tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], 'retired ' .. ARGV[3])
return 1
