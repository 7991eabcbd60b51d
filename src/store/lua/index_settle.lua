-- Makes entries of an index agree with their links as they are at this moment: never with a reading
-- that may be out of date by now. Begins with parts/index.lua.
-- KEYS[1] index   KEYS[2...] l:{code}; none in a Cluster, whose links are on other servers: then
-- none of the entries belongs
-- ARGV[1], ARGV[2] as there   ARGV[3] owner   ARGV[4] tag in lower case, empty for the index of all
-- links then for each link: the time at which an entry of it may stand, in ms, and its code
-- Answers how many entries were added, and how many were removed.
local owner, tag = ARGV[3], ARGV[4]

-- A link that is there and can't be placed: its data are damaged. It leaves its entry as it is.
local function is_damaged(link)
  local created = tonumber(link[2] or '')
  return link[1] and not (link[3] and created and created % 1 == 0 and math.abs(created) < 1e15)
end

local function belongs(link)
  if not link[1] or link[3] ~= owner then
    return false
  end
  return tag == '' or string.find(',' .. string.lower(link[4] or '') .. ',', ',' .. tag .. ',', 1, true) ~= nil
end

local added, removed = 0, 0
for i = 1, (#ARGV - 4) / 2 do
  local known, code = ARGV[2 * i + 3], ARGV[2 * i + 4]
  local link = KEYS[i + 1] and redis.pcall('HMGET', KEYS[i + 1], 't', 'c', 'o', 'g') or {}
  -- So does what is no link.
  if not link.err and not is_damaged(link) then
    local is_here = belongs(link)
    if not (is_here and link[2] == known) and remove(KEYS[1], known, code) then
      removed = removed + 1
    end
    if is_here then
      added = added + add(KEYS[1], { link[2], code }, 1, 2)
    end
  end
end
return { added, removed }
