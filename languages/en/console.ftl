# The words of the officers' console, in Fluent's syntax (projectfluent.org).
#
# $site is the service's name, $host is what its short links begin with; both can be used in every message. The only
# markup is <strong>, <code> and <bdi>, and none of it in what ends in -title or -label. Dates, and numbers with their
# thousands apart, come ready made: citizens.ftl words them.

## On every page

console-skip = Skip to the page
# Small, behind the service's name.
console-name = console
console-menu-label = Console
console-links = Links
console-directory = Directory
console-keys = API keys
console-account = Account
console-about = About { $site }
console-api = API
console-languages-label = Language
console-moment = { $date }, { $time }
# What fields of e-mail addresses say to something else.
console-no-email = This isn’t an e-mail address. It should look like name@agency.example.
console-copy = Copy
console-copied = Copied
console-not-copied = Can’t copy

## When something goes wrong: what, why, and what to do

problem-back = To your links
problem-unchanged = Nothing was changed.
problem-try-again = Go back and try again.
problem-signed-out-title = Log in first
problem-signed-out = This page is for officers who have logged in.
problem-foreign-form-title = This form has expired
problem-foreign-form = Nothing was changed. The page was open since before you logged in, or another website sent this form in your name.
problem-foreign-form-next = Open the page again and fill in the form once more.
problem-malformed-title = This form can’t be read
problem-too-large-title = That is too much at once
problem-too-large-next = Go back and send less.
problem-too-slow-title = The form didn’t arrive in time
problem-too-slow = Nothing was changed. Your connection may be slow.
problem-not-found-title = There is no such page
problem-not-found = The address is mistyped, or what it leads to belongs to another officer.
problem-not-found-next = The directory shows whom to ask about a link.
problem-method-title = This page can’t be used so
problem-too-many-title = Too many tries
problem-too-many = Many logins came from your network in a short time.
problem-too-many-next = Wait a minute, then try again.
problem-outage-title = Please try again shortly
problem-outage = The console can’t reach its data just now. The fault is ours, and short links go on working. You are still logged in.
problem-outage-next = Wait a moment, then load the page again. If you sent a form, look whether it took effect before you send it once more.

## Logging in

login-title = Log in
login-how = We mail you a one-time password. There is no other to remember.
login-email-label = Your work e-mail address
# $patterns: *.gov.sg, *.edu.sg
login-email-hint = Addresses that can log in: { $patterns }
login-send = Send me a password
login-out = You have logged out.
login-out-everywhere = You have logged out in all browsers.
login-no-mail = Nobody can log in yet: mail isn’t set up on this service.
login-no-mail-operator = If you run it: set <code>smtp.url</code> to your mail server, and start it again.

password-title = Enter your one-time password
password-sent = If <strong>{ $email }</strong> can log in here, a password of six digits is on its way to it. It is valid for five minutes, in this browser.
password-label = One-time password
password-wrong = This isn’t the password, or it is no longer valid. After three wrong tries, or five minutes, you need a new one.
password-log-in = Log in
password-no-mail-title = No mail?
password-no-mail = Look into the folder for spam, and check the address above.
password-limit =
    { $number ->
        [one] One mailbox gets at most one password an hour.
       *[other] One mailbox gets at most { $number } passwords an hour.
    }
password-again = Send a new password
password-other-address = Use another address

# What is mailed is plain text, in short lines.
mail-password-subject = Your one-time password for { $site }
mail-password-text =
    Your one-time password is

        { $password }

    It is valid for five minutes, in the browser that asked for it:
    { $address }

    Tell it to nobody; nobody from { $site } will ask you for it.
    If you didn't ask for it, you need not do anything.

## The officer's account

account-title = Account
account-email = Logged in as
account-administrator = { $email } (administrator)
account-since = Since
account-log-out = Log out
account-log-out-everywhere = Log out in all browsers
account-hint = Log out in all browsers when you left one open somewhere, or lost a device.

## API keys

keys-title = API keys
keys-about = With a key, a program works with your links as you do here.
keys-guide = How to use the API
keys-made = Your new key. It is shown this once: copy it now.
keys-made-hint = Keep it like a password. A lost key can’t be looked up, only replaced.
keys-was-revoked = The key is revoked: it opens nothing any more.
keys-none = You have no keys.
keys-unnamed = Unnamed key
keys-valid = Valid
keys-expired = Expired
keys-created = Created { $date }
keys-used = Last used { $moment }
keys-never-used = Never used
keys-ends = Ends { $date }
keys-no-end = No end
keys-revoke = Revoke
# $name may be empty; $key is what the key begins with.
keys-revoke-label = Revoke the key { $name } { $key }
keys-create-title = Create a key
keys-name = Name
keys-name-hint = What the key is for, so that you know it again.
keys-name-mistake = A name is one line of at most { $limit } characters.
keys-scopes = What it may do
keys-scopes-mistake = Tick at least one thing that the key may do.
keys-scope-links-read = See your links
keys-scope-links-write = Create and change your links
keys-scope-stats-read = See clicks
keys-scope-keys-write = See, create and revoke your keys
keys-scope-admin = Work on everybody’s links, as an administrator
keys-life = It ends after
keys-life-days-label =
    { $days ->
        [one] { $days } day
       *[other] { $days } days
    }
keys-life-year-label = One year
keys-life-never-label = Never
keys-create = Create the key
keys-too-many = You have { $limit } keys that work. Revoke one that isn’t needed first.

revoke-title = Revoke a key
revoke-question = Revoke this key?
revoke-name = Name
revoke-key = Key
revoke-scopes = May do
revoke-used = Last used
revoke-never-used = Never
revoke-what-follows = Whatever program uses it stops working at once. This can’t be undone; you can create another key.
revoke-yes = Revoke the key
revoke-no = Keep it

## The directory of all links

directory-title = Directory
directory-about = Find any link of any officer, and whom to ask about it.
directory-words = Name, or words of name, target or description
directory-owner = Owner’s e-mail address
directory-search = Search
directory-nothing-so-far = Nothing so far. There are more links to look through.
directory-nothing = No link matches.
directory-nothing-more = No more links match.
directory-owned-by = Owner: { $email }
directory-contact = Contact: { $email }
directory-created = Created { $date }
directory-ask = Ask
directory-ask-label = Ask { $email } about { $link }
directory-copy = Copy address
directory-copy-label = Copy address { $email }
directory-pages-label = Pages
directory-on = Go on searching

## Whether a link leads anywhere

state-on = On
state-off = Switched off
state-expired = Expired
