-- Gives back a guess that was right, or was none.
-- KEYS[1] guesses
if tonumber(redis.call('GET', KEYS[1]) or 0) > 0 then
  redis.call('DECR', KEYS[1])
end
