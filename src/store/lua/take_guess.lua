-- Takes one guess from the hour's allowance of wrong ones. The hour starts with its first guess.
-- KEYS[1] guesses   ARGV[1] most in an hour   ARGV[2] an hour in ms
-- Returns 1 when there was one to take, 0 when they are spent. A call that is sent twice may take two.
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then
  return 0
end
if redis.call('INCR', KEYS[1]) == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
