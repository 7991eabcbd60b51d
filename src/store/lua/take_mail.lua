-- Takes one login mail from an hour's allowance.
-- KEYS[1] mails:{name}   ARGV[1] now   ARGV[2] window, both in ms   ARGV[3] most in a window
-- ARGV[4] a word like no other call's, by which a call that is sent twice recognises itself
-- Returns whether there was one to take (1 or 0), and the ms until the next: 0 when another can be taken at once.
local now, window, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local taken, was_taken = {}, 0
for _, mail in ipairs(cjson.decode(redis.call('GET', KEYS[1]) or '[]')) do
  if mail[1] > now - window then
    taken[#taken + 1] = mail
    if mail[2] == ARGV[4] then
      was_taken = 1
    end
  end
end
if was_taken == 0 and #taken < most then
  taken[#taken + 1] = { now, ARGV[4] }
  redis.call('SET', KEYS[1], cjson.encode(taken), 'PX', window)
  was_taken = 1
end
if #taken < most then
  return { was_taken, 0 }
end
return { was_taken, math.max(1, taken[#taken - most + 1][1] + window - now) }
