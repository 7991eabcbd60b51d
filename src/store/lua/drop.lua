-- Removes a text if it is still the one that the caller knows.
-- KEYS[1] key   ARGV[1] known
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
