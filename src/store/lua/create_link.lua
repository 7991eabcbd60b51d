-- Creates a link unless its code was ever used. One HSET is the whole change. The message is kept from replication: with a replica Redis would
-- otherwise write both to the append-only file as a transaction, and one that is cut off spoils what follows it.
-- KEYS[1] link:{code}   ARGV[1] channel   ARGV[2] message   ARGV[3...] field, value, ...
-- Answers 1 when created, 0 when the code is taken.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.set_repl(redis.REPL_NONE)
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
