-- Notes what a browser may log in with, once its mail was accepted. A mail that was asked for later wins, whichever was accepted first.
-- KEYS[1] otp:{browser}   ARGV[1] the login as JSON   ARGV[2] life in ms
local text = redis.call('GET', KEYS[1])
if text and cjson.decode(text).asked_ms >= cjson.decode(ARGV[1]).asked_ms then
  return
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
