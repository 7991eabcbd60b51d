-- Adds codes to indexes. Begins with parts/index.lua.
-- KEYS indexes   ARGV[1], ARGV[2] as there, then for each index: number of entries, created in ms,
-- code, ... Neighbours in time cost least beside each other: they are one ZADD.
-- Answers how many entries weren't there before.
local added = 0
local at = 3
for i = 1, #KEYS do
  local last = at + 2 * tonumber(ARGV[at])
  added = added + add(KEYS[i], ARGV, at + 1, last)
  at = last + 1
end
return added
