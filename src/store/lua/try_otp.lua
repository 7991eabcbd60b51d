-- Tries the password or the link that was mailed to a browser. The try is counted by the same write that tells whether it was right,
-- so that guesses that come together are still counted one by one.
-- KEYS[1] otp:{browser}   ARGV[1] code or link   ARGV[2] hash of the guess   ARGV[3] most wrong guesses
-- ARGV[4] a word like no other try's, by which a try that is sent twice recognises itself
-- Returns 1 when it is right, 0 when it is wrong, 2 when there is nothing to be tried.
local text = redis.call('GET', KEYS[1])
if not text then
  return 2
end
local login = cjson.decode(text)
if login.last == ARGV[4] then
  return login.used and 1 or 0
end
local is_code = ARGV[1] == 'code'
if login.used or not login[ARGV[1]] or (is_code and login.tries >= tonumber(ARGV[3])) then
  return 2
end
if login[ARGV[1]] == ARGV[2] then
  login.used = true
elseif is_code then
  login.tries = login.tries + 1
else
  -- The link's secret is too long to be guessed: no need to write anything down.
  return 0
end
login.last = ARGV[4]
redis.call('SET', KEYS[1], cjson.encode(login), 'KEEPTTL')
return login.used and 1 or 0
