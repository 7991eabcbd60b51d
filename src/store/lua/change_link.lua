-- Changes fields of a link, whatever else others change in it meanwhile. One HSET sets the fields,
-- the version and the history. The message comes first and is kept from replication, for the
-- reasons that create_link.lua gives.
-- KEYS[1] l:{code}   ARGV[1] channel   ARGV[2] code   ARGV[3] by whom   ARGV[4] when, in ms
-- ARGV[5] mark, like no other change's
-- ARGV[6] the first version that an earlier coming of this change may have made, if not one of the
-- last two   ARGV[7] whose link it must be, empty: anybody's
-- ARGV[8] versions at one of which it must be, each with a comma on both sides, empty: any
-- ARGV[9...] field, value, ...
-- Answers nothing when there is no such link, else what came of it, the version after this change,
-- when that was, and READ as it was before: 'changed', 'same' (it is so already), 'came' (this
-- change was made before; the version is that change's), 'foreign' (somebody else's), 'stale'.
local READ = { 't', 'o', 's', 'd', 'm', 'g', 'x', 'q', 'c', 'u', 'v', 'r' }
local before = redis.call('HMGET', KEYS[1], unpack(READ))
if not before[1] then
  return nil
end
local link = {}
for i, field in ipairs(READ) do
  before[i] = before[i] or ''
  link[field] = before[i]
end
if link.s == '' then
  link.s = '1'
end
local version = tonumber(link.v) or 1

local function answer(outcome, at_version, at)
  return { outcome, at_version, at, unpack(before) }
end

for earlier = version, math.max(2, math.min(tonumber(ARGV[6]), version - 1)), -1 do
  local change = redis.call('HGET', KEYS[1], 'h' .. earlier)
  if change and string.find(change, '"mark":"' .. ARGV[5] .. '"', 1, true) then
    return answer('came', earlier, 0)
  end
end
if ARGV[7] ~= '' and ARGV[7] ~= link.o then
  return answer('foreign', version, 0)
end
if ARGV[8] ~= '' and not string.find(ARGV[8], ',' .. version .. ',', 1, true) then
  return answer('stale', version, 0)
end

local was, fields = {}, {}
for i = 9, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  -- A state that this version doesn't know counts as switched off.
  local same = link[field] == value or field == 's' and value == '0' and link.s ~= '1'
  if not same then
    was[field] = link[field]
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
end
if #fields == 0 then
  return answer('same', version, 0)
end
version = version + 1
-- Times of one link grow, unless its last change is dated by a clock that was wrong.
local at, last = tonumber(ARGV[4]), tonumber(link.u) or 0
if at < last and last < at + 60000 then
  at = last
end
local text_at = string.format('%.0f', at)
local history = '{"by":' .. cjson.encode(ARGV[3]) .. ',"at":' .. text_at .. ',"mark":"' .. ARGV[5] .. '","was":' .. cjson.encode(was) .. '}'
local set_repl = redis.set_repl or function() end
set_repl(redis.REPL_NONE)
redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' ' .. version)
set_repl(redis.REPL_ALL)
redis.call('HSET', KEYS[1], 'h' .. version, history, 'u', text_at, 'v', version, unpack(fields))
return answer('changed', version, at)
