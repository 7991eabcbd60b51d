-- Notes a one-time password that is about to be mailed, unless its mailbox has had its share. All that is known of a mailbox is one text, so
-- that each call is one SET; a password's life is counted from its own time and isn't lengthened by those that follow.
-- KEYS[1] otp:{email}   ARGV[1] now   ARGV[2] window, both in ms   ARGV[3] most in a window   ARGV[4] browser   ARGV[5] hash
-- Answers 1 when noted, by this call or by its earlier coming, 0 when there were enough.
local kept = {}
for _, otp in ipairs(cjson.decode(redis.call('GET', KEYS[1]) or '[]')) do
  if otp.browser == ARGV[4] and otp.hash == ARGV[5] then
    return 1
  end
  if otp.at > ARGV[1] - ARGV[2] then
    kept[#kept + 1] = otp
  end
end
if #kept >= tonumber(ARGV[3]) then
  return 0
end
kept[#kept + 1] = { at = tonumber(ARGV[1]), browser = ARGV[4], hash = ARGV[5], tries = 0 }
redis.call('SET', KEYS[1], cjson.encode(kept), 'PX', ARGV[2])
return 1
