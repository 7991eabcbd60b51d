-- Takes entries out of an index, see index.rs: codes that stand there with just these times. Every write may be repeated.
-- KEYS[1] index   ARGV created in ms, code, ...
for i = 1, #ARGV, 2 do
  local start = redis.call('ZRANGE', KEYS[1], ARGV[i], '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1]
  if start then
    local part = KEYS[1] .. ':' .. start
    if tonumber(redis.call('ZSCORE', part, ARGV[i + 1]) or 'nan') == tonumber(ARGV[i]) - tonumber(start) then
      redis.call('ZREM', part, ARGV[i + 1])
    end
    if redis.call('EXISTS', part) == 0 then
      redis.call('ZREM', KEYS[1], start)
    end
  end
end
