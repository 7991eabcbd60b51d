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
console-cancel = Cancel
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
problem-encoded-title = This form is compressed
problem-encoded-next = Send it without compression.
problem-too-slow-title = The form didn’t arrive in time
problem-too-slow = Nothing was changed. Your connection may be slow.
problem-not-found-title = There is no such page
problem-not-found = The address is mistyped, or what it leads to belongs to another officer.
problem-not-found-next = The directory shows whom to ask about a link.
problem-method-title = This page can’t be used so
problem-flood-title = Too much is being sent at once
problem-flood = You or others on your network are sending many forms or files at this moment. Nothing was changed.
problem-quota-title = You have created as much as you may for today
problem-quota = The results of your files and forms are kept for a day, and there is no room for more. Nothing was created.
problem-quota-next = Try again in a few hours.
problem-too-many-title = Too many tries
problem-too-many = Many logins came from your network in a short time.
problem-too-many-next = Wait a minute, then try again.
problem-busy-title = Many are searching just now
problem-busy = Searching for words takes a second, and others came first.
problem-busy-next = Wait a moment, then load the page again.
problem-crowded-title = Many people are at work here just now
problem-crowded = Your turn didn’t come in time. Nothing was changed.
problem-crowded-next = Wait a moment, then try again.
problem-outage-title = Please try again shortly
problem-outage = The console can’t reach its data just now. The fault is ours, and short links go on working. You are still logged in.
problem-outage-next = Wait a moment, then load the page again. If you sent a form, look whether it took effect before you send it once more.

## Logging in

login-title = Log in
login-how = We mail you a link and a one-time password. There is nothing to remember.
login-email-label = Your work e-mail address
# $patterns: *.gov.sg, *.edu.sg
login-email-hint = Addresses that can log in: { $patterns }
login-send = Send me a mail
login-out = You have logged out.
login-out-everywhere = You have logged out in all browsers.
login-out-everywhere-keys = You have logged out in all browsers, and your API keys are revoked.
login-no-mail = Nobody can log in yet: mail isn’t set up on this service.
login-no-mail-operator = If you run it: set <code>smtp.url</code> to your mail server, and start it again.

password-title = Check your mail
password-sent = If <strong>{ $email }</strong> can log in here, we have sent a mail there. Open the link in it in this browser, or enter the one-time password below. Both are valid for five minutes.
password-link-sent = If <strong>{ $email }</strong> can log in here, we have sent a mail there. Open the link in it in this browser within five minutes.
password-not-sent = No mail was sent: too many have been requested for this address.
password-link-only = Too many wrong passwords were tried on this service within the last hour. For now, only the link in the mail logs you in from this browser.
password-wait =
    { $minutes ->
        [one] You can ask for the next mail in one minute.
       *[other] You can ask for the next mail in { $minutes } minutes.
    }
password-label = One-time password
password-wrong = This password is wrong or has expired. Only the newest mail's password counts. After three wrong tries, or five minutes, you need a new mail.
password-log-in = Log in
password-no-mail-title = No mail?
password-no-mail = Check your spam folder, and the address above.
password-limit =
    { $number ->
        [one] One mailbox gets at most one mail an hour.
       *[other] One mailbox gets at most { $number } mails an hour.
    }
password-again = Send a new mail
password-other-address = Use another address

# A link that was mailed leads to a page with a button.
link-title = Log in
link-about = Log in as <strong>{ $email }</strong>?
link-log-in = Log in
link-useless-title = This link doesn’t work here
link-useless = A login link works once, within five minutes, and only in the browser that asked for it.
link-useless-next = Did you ask in another browser, or on another device? Copy the link there, or enter the password from the mail there.
link-again = Ask for a new mail

# What is mailed is plain text, in short lines.
mail-password-subject = Log in to { $site }
# $address: the link.
mail-password-text =
    To log in, open this link in the browser that asked for it:
    { $address }

    Or enter this one-time password there:

    { $password }

    Both are valid for five minutes. Give neither to anybody;
    nobody from { $site } will ask you for them.
    If you didn't ask for this mail, you need not do anything.
# When no passwords are taken.
mail-link-text =
    To log in, open this link in the browser that asked for it:
    { $address }

    It is valid for five minutes. Give it to nobody;
    nobody from { $site } will ask you for it.
    If you didn't ask for this mail, you need not do anything.

## The officer's account

account-title = Account
account-email = Logged in as
account-administrator = { $email } (administrator)
account-since = Since
account-log-out = Log out
account-log-out-everywhere = Log out in all browsers
account-keys-go-on = Your API keys go on working.
account-revoke-keys = Revoke all my API keys too. Programs that use them stop working at once.
account-hint = Log out in all browsers when you left one open somewhere, or lost a device.

## API keys

keys-title = API keys
keys-about = With a key, a program works with your links as you do here.
keys-guide = How to use the API
keys-made = Your new key. It is shown this once: copy it now.
keys-made-hint = Keep it like a password. A lost key can’t be looked up, only replaced.
keys-was-made = This key was created already, and is shown once only. If you didn’t copy it, revoke it and create another.
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
keys-revoked-title = Revoked keys
keys-revoked = Revoked { $moment }
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
revoke-below = These keys were made with it, or may have been. They are revoked too:
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
directory-manage = Manage
directory-manage-label = Manage { $link }
directory-copy = Copy address
directory-copy-label = Copy address { $email }
directory-pages-label = Pages
directory-on = Go on searching

## Whether a link leads anywhere

state-on = On
state-off = Switched off
state-expired = Expired

## An officer's links

list-title = Your links
list-of-another = Links of { $email }
list-create = Create a link
list-search = Search name, target or description
list-tag = Tag
list-state = State
list-any-state-label = On or off
list-on-label = On
list-off-label = Switched off
list-order = Order
list-owner = Owner, if not you
list-newest-label = Newest first
list-oldest-label = Oldest first
list-most-clicks-label = Most clicks
list-fewest-clicks-label = Fewest clicks
list-by-name-label = By name
list-show = Show
list-nothing = No link matches.
list-nothing-so-far = No link matches so far.
list-all = Show all links
list-none = You have no links yet.
list-create-first = Create your first link
# $clicks is the number as it is written, $number chooses between singular and plural.
list-clicks =
    { $number ->
        [one] { $clicks } click
       *[other] { $clicks } clicks
    }
list-copy-label = Copy { $link }
list-to-clicks = Clicks
list-to-clicks-label = Clicks of { $code }
list-pages-label = Pages
list-first-page = First page
list-next-page = Next page
list-transferred = { $link } belongs to its new owner now.

## Above each page of a link

link-menu-label = This link
link-of-another = This link belongs to { $email }. You work on it as an administrator, and its history says so.
link-settings = Settings
link-clicks = Clicks
link-history = History

## The fields of a link

fields-mistakes = Nothing was saved. Please mend what is marked below.
fields-target = Where it leads
fields-target-hint = A public address that begins with https://
fields-target-not-https = The address must begin with https:// in lower case.
fields-target-too-long = This address is too long. Shorten it to { $limit } characters. Each letter beyond A to Z takes several.
fields-target-never-written = This address has a space, a control character, < or > in it. Remove it, or write %20 for a space.
fields-target-user-info = This address has a user name or a password before an @. Remove everything between https:// and the website’s name.
fields-target-ip-address = This address has an IP address in place of a website’s name. Use the name.
fields-target-malformed = The website’s name isn’t written as browsers read it. Copy the address from your browser’s address bar.
fields-target-look-alike = The website’s name mixes alphabets, so it can pass for another. Check where the address comes from.
fields-target-circular = This address leads back to this service. Use the address that the short link leads to.
fields-target-private-name = The website’s name is private or local. Use an address that everybody on the internet can open.
fields-target-unknown-suffix = The website’s name ends in no known domain, such as .sg or .com. Check its spelling.
fields-target-port = Browsers refuse to open port { $port }. Use another port, or none.
fields-target-blocked = This website can’t be a target here. Use another address, or ask whoever runs this service.
fields-target-stand-in = The website’s name stands for an address in a private network. Use the name of a public website.
fields-target-shortener = This address belongs to a link shortener, which hides where it leads. Use the address that it leads to.
fields-target-tracker = This address belongs to a redirection or tracking service, which hides where it leads. Use the address that it leads to.
fields-description = Description
fields-description-hint = One line, for colleagues who look for the link and for citizens who find it switched off. At most { $limit } characters.
fields-description-mistake = A description is one line of at most { $limit } characters.
fields-contact = Contact
fields-contact-hint = An officer’s e-mail address to ask about the link, if not yours. Citizens see it when the link is off.
fields-contact-no-officer = Citizens are told to ask this address, so it must be an officer’s.
fields-tags = Tags
fields-tags-hint = Up to { $limit } words of letters, digits, - and _, with commas between them.
fields-tag-mistake = A tag has 1 to { $limit } characters of A-Z, a-z, 0-9, _ and -.
fields-tags-mistake = A link has at most { $limit } tags.
fields-expires = Ends on
fields-expires-hint = From then on the link leads nowhere. Empty: it has no end. Time zone: { $timezone }
fields-expires-mistake = This isn’t a date and time.
fields-forward-query = Hand on what stands behind a “?” in the visitor’s address, for campaigns that count by it

## Creating a link

create-title = Create a link
create-code = Name
create-code-hint = Lower-case letters, digits and hyphens. Empty: a random one that reads well in print. It can’t be changed later.
create-code-mistake = A name has 1 to { $limit } characters of a-z, 0-9 and -.
create-code-taken = { $code } is taken. A name that was used once is never given to another link.
# While a name is being typed.
create-code-free = { $code } is free.
create-owner = Owner
create-owner-hint = Whose the link is to be, if not yours. Only administrators are asked.
create-create = Create the link

## Changing a link

edit-created = The link works now.
edit-created-only = The link is created.
edit-saved = Saved. Visitors go there from now on.
edit-saved-only = Saved.
# Behind one of these, why visitors aren't led there.
edit-while-off = It is switched off: visitors are led nowhere until you switch it on.
edit-while-expired = But its end is past: visitors are led nowhere.
edit-switched-on = The link is switched on.
edit-switched-off = The link is switched off. Visitors read that it no longer leads anywhere, and whom to ask.
edit-stale = <strong>This link was changed while you had it open, so nothing was saved.</strong> Below is what you typed. Compare it with what the link is now, and save again if yours is right.
edit-target-now = Leads to, now
edit-description-now = Description, now
edit-contact-now = Contact, now
edit-tags-now = Tags, now
edit-expires-now = Ends on, now
edit-who-changed = See who changed it
edit-save = Save
edit-off-title = Switch off, or give away
edit-on-title = Switch on, or give away
edit-never-deleted = A link is never deleted: it may be printed somewhere, and its name never goes to anybody else.
edit-switch-off = Switch off
edit-switch-on = Switch on
edit-give-away = Give to another officer
edit-qr-title = QR code
edit-qr-label = QR code of { $link }
edit-qr-without-logo = Without the logo, for the smallest prints:
edit-qr-svg = SVG, for print
edit-qr-png = PNG, { $pixels } pixels

## Giving a link away

transfer-title = Give { $code } to another officer
transfer-what-follows = The link goes on working. From then on only its new owner sees and changes it; you can’t take it back.
transfer-owner = The new owner’s e-mail address
transfer-is-owner = The link belongs to this officer already.
transfer-suspended-officer = The officer with this address is suspended and can't take the link. Give it to somebody else.
transfer-unknown-officer = Nobody with this address has used this service yet. Ask the new owner to log in once, and check the spelling.
transfer-no-officer = Links are owned by officers only, and this address can’t log in here.
transfer-stale = The link was changed while this page was open. Look at it again before you give it away.
transfer-give = Give the link away

## A link's past

history-title = History of { $code }
history-you = You
history-key = API key { $key }
history-operator = The operator of this service
history-unknown = Somebody unknown
history-created = { $who } created the link
history-target = Leads to
history-state = State
history-owner = Owner
history-description = Description
history-contact = Contact
history-tags = Tags
history-expires = Ends on
history-forward-query = Hands on what stands behind ?
history-on = on
history-off = switched off
history-yes = yes
history-nothing = nothing
# Read out between what was and what is.
history-became = became
history-pages-label = Pages
history-newest = Newest
history-older = Older

## A link's clicks

clicks-title = Clicks of { $code }
clicks-people = Clicks by people
clicks-people-hint = Each opening of the link, once. Programs such as curl are people’s tools and count too.
clicks-bots = Search bots and link previews
clicks-bots-hint = Search engines, and chat programs that show a preview. Not among the clicks.
clicks-prefetches = Fetched in advance
clicks-prefetches-hint = A browser loaded the page in case somebody would open it. Not among the clicks.
clicks-daily-title = Day by day
clicks-range-days =
    { $days ->
        [one] { $days } day
       *[other] { $days } days
    }
clicks-range-year = One year
clicks-from = From
clicks-to = To
clicks-show = Show
clicks-no-day = A day looks like 2026-01-31.
clicks-backwards = The first day is after the last.
clicks-too-many-days = At most { $limit } days can be asked for at once.
clicks-in-range =
    { $number ->
        [one] { $clicks } click from { $from } to { $to }.
       *[other] { $clicks } clicks from { $from } to { $to }.
    }
clicks-by-day-label = Clicks by day
clicks-line-label = Line of clicks by day; the table below has the numbers
clicks-table = The numbers as a table
clicks-day = Day
clicks-clicks = Clicks
clicks-csv = Download as CSV
clicks-hourly-title = By weekday and hour
clicks-hourly-hint = Over the link’s whole life. Time zone: { $timezone }
clicks-by-hour-label = Clicks by weekday and hour
clicks-map-label = Map of clicks by weekday and hour; the table below has the numbers
clicks-hour-table-label = Table of clicks by weekday and hour
clicks-hour = Hour
# Short: they stand beside the map and above the table.
clicks-monday-label = Mon
clicks-tuesday-label = Tue
clicks-wednesday-label = Wed
clicks-thursday-label = Thu
clicks-friday-label = Fri
clicks-saturday-label = Sat
clicks-sunday-label = Sun
clicks-devices-title = Devices
clicks-bars-label = Bars of clicks by device; the table below has the numbers
clicks-by-device-label = Clicks by device
clicks-device = Device
clicks-desktop-label = Desktop
clicks-mobile-label = Mobile
clicks-tablet-label = Tablet
clicks-others-label = Others
clicks-share-label = { $clicks } ({ $percent } %)

## Creating many links from a file

upload-title = Create many links
upload-about = Upload a CSV file with a link in each row. You see what would be created before anything is.
upload-file = File
upload-limits = CSV in UTF-8, with one link a row: at most { $rows } rows and { $megabytes } MB.
upload-preview = Show a preview
upload-template = Download a template
upload-columns-title = What the columns mean
upload-columns = The first row names the columns. Commas, semicolons or tabs may separate them. Only target_url is needed. An export of GoGovSG, Shlink, YOURLS, Kutt or Bitly can be uploaded as it is.
upload-column-target = Where the link leads: an address that begins with https://.
upload-column-code = The link’s name, of a-z, 0-9 and -. Empty: a random one.
upload-column-description = One line about the link, for people who ask whose it is.
upload-column-contact = An e-mail address for questions about the link.
upload-column-tags = Words to find the link again, separated by semicolons.
upload-column-expires = When the link ends, as 2026-12-31T23:59:59+08:00. Empty: never.
upload-column-query = true: what stands behind a question mark in the short link goes along to the target. Empty: false.
upload-column-state = active or inactive. Empty: active.
upload-column-owner = Whose the link is to be. Empty: yours.
upload-column-unread = Isn’t read.
upload-too-large = The file is too large: at most { $megabytes } MB. Split it into several and upload one after the other.
upload-too-many-rows = The file has more than { $limit } rows. Split it into several and upload one after the other.
upload-empty = The file has no rows. It needs a first row that names the columns, and a row for each link.
upload-workbook = This is a file of a spreadsheet program. Save it there as “CSV UTF-8”, and upload that.
upload-utf16 = The file is written in UTF-16. Save it as “CSV UTF-8”, and upload that.
upload-unknown-columns = The column target_url is missing. Look whether the first row names the columns, as in the template. It says: { $columns }
upload-repeated-column = The column { $column } is there more than once. Leave the one that counts.
upload-row-too-long = A row is far too long: perhaps a quotation mark is opened and never closed.
upload-gone = This upload isn’t here any more: another one has taken its place, or its time is over. Upload the file again.

upload-preview-title = Preview
upload-begun = Creating these links broke off. Press the button once more: what was created already isn’t created twice.
upload-can-be-created =
    { $count ->
        [0] No link can be created.
        [one] One link can be created.
       *[other] { $count } links can be created.
    }
upload-have-problems =
    { $count ->
        [one] One row has a problem and would be left out.
       *[other] { $count } rows have problems and would be left out.
    }
upload-nothing-yet = Nothing has been created yet.
upload-ignored = Columns that aren’t read: { $columns }
upload-create =
    { $count ->
        [one] Create one link
       *[other] Create { $count } links
    }
upload-again = Upload another file instead
upload-preview-file = Download this preview
upload-problems-label = Rows with problems
upload-rows-label =
    { $count ->
        [one] One row without problems
       *[other] { $count } rows without problems
    }
upload-line = Line
upload-link = Link
upload-target = Target
upload-problem = Problem
upload-any-code = a random name
upload-more =
    { $count ->
        [one] One more is in the file to download.
       *[other] { $count } more are in the file to download.
    }
# $column is the column's name in the file, $detail what is wrong: one of the next four, or what the form for one link says.
upload-problem-cell = <strong>{ $column }</strong>: { $detail }
upload-cell-missing = There is nothing in this cell.
upload-cell-state = This should be active or inactive.
upload-cell-flag = This should be true or false.
upload-cell-time = This isn’t a time. It should look like 2026-12-31T23:59:59+08:00.
upload-broken-cells = The row has { $cells } cells, and the header has { $header }.
upload-broken-utf8 = The row isn’t in UTF-8.
upload-broken-quotation = The row has a quotation mark that is never closed.
upload-broken-empty = The row says nothing of a link.
upload-broken-json = The row isn’t a JSON object: { $error }
# Behind each of these.
upload-broken-next = Look at its quotation marks and separators; in a spreadsheet program, save as “CSV UTF-8”.
upload-problem-repeated = An earlier row has the name { $code }. Give this one another, or leave it empty.
upload-problem-taken = { $code } is taken. A name that was used once is never given to another link. Choose another, or leave it empty.
upload-problem-not-yours = Only administrators create links for others. Leave the owner empty.

upload-running-title = The links are being created
upload-running = That takes a few seconds.
upload-look = Look again

upload-done-title = What became of your file
upload-created =
    { $count ->
        [0] No link was created.
        [one] One link was created.
       *[other] { $count } links were created.
    }
upload-failed =
    { $count ->
        [one] One row failed.
       *[other] { $count } rows failed.
    }
upload-kept = These results are here for a day, under this address. The links are among yours.
upload-results-file = Download the results (CSV)
upload-svg-codes = QR codes for print (SVG, ZIP)
upload-png-codes = QR codes as pictures (PNG, ZIP)
upload-another = Upload another file

## Files of an officer's links

export-about = Export these links:
export-csv = CSV
export-json = JSON lines
