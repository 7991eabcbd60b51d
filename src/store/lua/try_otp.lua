-- Tries a one-time password: the last one that this browser asked for. The try is counted by the same write that tells whether it was right,
-- so that guesses that come together are still counted one by one.
-- KEYS[1] otp:{email}   ARGV[1] now   ARGV[2] life, both in ms   ARGV[3] most tries   ARGV[4] browser   ARGV[5] hash of the guess
-- ARGV[6] a word like no other try's, by which one that is sent twice knows itself
-- Answers 1 when it is the password, 0 when it isn't or there is none to be tried.
local otps = cjson.decode(redis.call('GET', KEYS[1]) or '[]')
local otp
for _, candidate in ipairs(otps) do
  if candidate.browser == ARGV[4] then
    otp = candidate
  end
end
if not otp then
  return 0
end
if otp.last == ARGV[6] then
  return otp.used and 1 or 0
end
if otp.used or otp.tries >= tonumber(ARGV[3]) or otp.at + ARGV[2] <= tonumber(ARGV[1]) then
  return 0
end
otp.tries = otp.tries + 1
otp.last = ARGV[6]
otp.used = otp.hash == ARGV[5]
redis.call('SET', KEYS[1], cjson.encode(otps), 'KEEPTTL')
return otp.used and 1 or 0
