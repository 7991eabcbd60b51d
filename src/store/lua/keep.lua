-- Adds bytes to what is kept for an officer, unless that would exceed a quota. Counted by hour: "<hour>:<bytes> <hour>:<bytes> ...".
-- KEYS[1] the counts   ARGV[1] this hour   ARGV[2] bytes   ARGV[3] quota, 0 for none   ARGV[4] first hour that counts   ARGV[5] expiry, ms
-- Answers -1, or when the quota would be exceeded the oldest hour that counts.
local hour, bytes, quota, first = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local sum, oldest, now, kept = 0, hour, 0, {}
for at, count in string.gmatch(redis.call('GET', KEYS[1]) or '', '(%d+):(%d+)') do
  at, count = tonumber(at), tonumber(count)
  if at == hour then
    now = count
    sum = sum + count
  elseif at >= first then
    kept[#kept + 1] = string.format('%d:%d', at, count)
    sum = sum + count
    oldest = math.min(oldest, at)
  end
end
if quota > 0 and sum + bytes > quota then
  return oldest
end
kept[#kept + 1] = string.format('%d:%d', hour, now + bytes)
redis.call('SET', KEYS[1], table.concat(kept, ' '), 'PX', ARGV[5])
return -1
