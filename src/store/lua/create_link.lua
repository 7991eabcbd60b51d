-- Creates a link unless its code was ever used. One HSET is the whole change, and the script's last call: when anything before it fails, nothing
-- is stored. The message, which nobody receives before the script has ended, is kept from replication: with a replica Redis would otherwise
-- write both to the append-only file as a transaction, and one that is cut off spoils what follows it. An engine without set_repl does without.
-- KEYS[1] l:{code}   ARGV[1] channel   ARGV[2] message   ARGV[3] 1: the creator has a mark like no
-- other's, and the call may have come before
-- ARGV[4] created, in ms   ARGV[5] creator, and the mark   ARGV[6...] field, value, ...
-- Answers when the link was created, in ms, by this call or by its earlier coming; 0 when the code
-- is taken.
if redis.call('EXISTS', KEYS[1]) == 1 then
  local link = redis.call('HMGET', KEYS[1], 'c', 'b')
  return ARGV[3] == '1' and link[2] == ARGV[5] and tonumber(link[1]) or 0
end
local set_repl = redis.set_repl or function() end
set_repl(redis.REPL_NONE)
redis.call('PUBLISH', ARGV[1], ARGV[2])
set_repl(redis.REPL_ALL)
redis.call('HSET', KEYS[1], 'c', ARGV[4], 'b', ARGV[5], unpack(ARGV, 6))
return tonumber(ARGV[4])
