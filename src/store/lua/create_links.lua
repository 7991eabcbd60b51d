-- Creates links whose codes were never used, for an import: as create_link.lua does, but fifty in a call, which takes Redis half the time.
-- Each HSET is a whole link. Redis writes them to the append-only file as one transaction, and one that was cut off and is then applied
-- in part twice does no harm here: the same fields of the same new links are set again.
-- KEYS l:{code}...   ARGV[1] channel   then for each key: message, number of words, field, value, ...
-- Answers for each key 1 when created, 0 when the code is taken.
local created = {}
local at = 2
for i = 1, #KEYS do
  local last = at + 1 + tonumber(ARGV[at + 1])
  if redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call('HSET', KEYS[i], unpack(ARGV, at + 2, last))
    created[i] = 1
  else
    created[i] = 0
  end
  at = last + 1
end
redis.set_repl(redis.REPL_NONE)
at = 2
for i = 1, #KEYS do
  if created[i] == 1 then
    redis.call('PUBLISH', ARGV[1], ARGV[at])
  end
  at = at + 2 + tonumber(ARGV[at + 1])
end
return created
