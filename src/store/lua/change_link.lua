-- Changes a link if it is still at the version that the caller has read. One HSET sets the fields, the version and the history. The message
-- comes first and is kept from replication, for the reasons that create_link.lua gives.
-- KEYS[1] l:{code}   ARGV[1] channel   ARGV[2] message   ARGV[3] version read   ARGV[4] history's field   ARGV[5] history   ARGV[6...] field, value, ...
-- Answers 1 when changed, by this call or by its earlier coming, 0 when somebody else was faster or the link is not there.
local link = redis.call('HMGET', KEYS[1], 't', 'v', ARGV[4])
if link[1] and link[3] == ARGV[5] then
  return 1
end
if not link[1] or (link[2] or '1') ~= ARGV[3] then
  return 0
end
local set_repl = redis.set_repl or function() end
set_repl(redis.REPL_NONE)
redis.call('PUBLISH', ARGV[1], ARGV[2])
set_repl(redis.REPL_ALL)
redis.call('HSET', KEYS[1], ARGV[4], ARGV[5], unpack(ARGV, 6))
return 1
