-- Changes a link if it is still at the version that the caller has read. One HSET sets the fields, the version and the history. The message
-- is kept from replication, for the reason that create_link.lua gives.
-- KEYS[1] link:{code}   ARGV[1] channel   ARGV[2] message   ARGV[3] version read   ARGV[4...] field, value, ...
-- Answers 1 when changed, 0 when somebody else was faster or the link is not there.
local link = redis.call('HMGET', KEYS[1], 't', 'v')
if not link[1] or (link[2] or '1') ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.set_repl(redis.REPL_NONE)
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
