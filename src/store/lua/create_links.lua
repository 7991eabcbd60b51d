-- Creates links whose codes were never used, for an import: as create_link.lua does, but fifty in a call, which takes Redis a third of the
-- time. Each HSET is a whole link. Redis writes them to the append-only file as one transaction, and one that was cut off and is then
-- applied in part twice does no harm here: the same fields of the same new links are set again.
-- KEYS l:{code}...   ARGV[1] channel   then for each key: message, number of words, field, value, ...
-- Answers for each key 1 when created, 0 when the code is taken.
local created = {}
local writes = {}
local messages = {}
local is_here = {}
local none_was = redis.call('EXISTS', unpack(KEYS)) == 0
local at = 2
for i, key in ipairs(KEYS) do
  local last = at + 1 + tonumber(ARGV[at + 1])
  if is_here[key] or not none_was and redis.call('EXISTS', key) == 1 then
    created[i] = 0
  else
    is_here[key] = true
    created[i] = 1
    writes[#writes + 1] = { key, at + 2, last }
    messages[#messages + 1] = ARGV[at]
  end
  at = last + 1
end
if #messages > 0 then
  local set_repl = redis.set_repl or function() end
  set_repl(redis.REPL_NONE)
  redis.call('PUBLISH', ARGV[1], table.concat(messages, '\n'))
  set_repl(redis.REPL_ALL)
end
for _, write in ipairs(writes) do
  redis.call('HSET', write[1], unpack(ARGV, write[2], write[3]))
end
return created
