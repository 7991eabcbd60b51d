-- How many entries parts of an index have, all at one moment: counted one by one, a part that is
-- split meanwhile would count one and a half times.
-- KEYS[1] index   ARGV[1] when the first part starts that is wanted, or -inf   ARGV[2] how many
-- parts are wanted
-- Answers for each part when it starts, in ms, and how many entries it has.
local sizes = {}
for i, start in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2])) do
  sizes[2 * i - 1] = tonumber(start)
  sizes[2 * i] = redis.call('ZCARD', KEYS[1] .. ':' .. start)
end
return sizes
