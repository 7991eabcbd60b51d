# The words on citizens' pages, in Fluent's syntax (projectfluent.org).
#
# $site is the service's name, $host is what its short links begin with; both can be used in every message. The only
# markup is <strong>, <code> and <bdi>, and none of it in titles and labels. Short sentences: a page is read in a hurry, on a phone.

## The language itself

# As its speakers write it.
language-name = English
# ltr or rtl.
language-direction = ltr
# Between thousands: 1,234,567. For a space: { " " }
number-separator = ,
date =
    { $day } { $month ->
        [1] January
        [2] February
        [3] March
        [4] April
        [5] May
        [6] June
        [7] July
        [8] August
        [9] September
        [10] October
        [11] November
       *[12] December
    } { $year }

## On every page

languages-label = Language
next-title = What you can do
try-again = Try again
open-link = Open the link
full-address-label = Full address
footer-about = { $site } makes short links for government agencies.
footer-check = How to check a link
footer-officers = For officers

## The landing page

landing-title = Short links from the government
landing-about = Government agencies use { $site } to make long web addresses short. You find these links in letters, text messages, posters and QR codes. Only government officers can make them.
landing-links = Short links
landing-clicks = Clicks
landing-officers = Officers
check-title = How to check a link
check-beginning = <strong>Look at the beginning.</strong> Our links begin with <code>{ $host }/</code>. Mind the slash: <code>{ $host }.example.com/</code> is not ours.
check-target = <strong>See where it goes.</strong> Add a <code>+</code> to the end of the link, as in <code>{ $host }/tax-guide+</code>. You see the website and the agency behind it, and don’t go there yet.
check-arrival = <strong>Look again when you arrive.</strong> Read the address of the website before you type in anything.
wrong-title = If something looks wrong
wrong-close = Close the page. Ask the agency that the message names, by a phone number or website that you already know.
# $contact is an e-mail address or a website, made into a link.
wrong-report = You can also report the link to us: { $contact }

## Before the first visit

transition-title = Check where this link goes
transition-going = You are going to
transition-question = Do you know this website, and did you expect it? If not, close this page.
transition-countdown =
    { $seconds ->
        [one] You will be taken there in { $seconds } second.
       *[other] You will be taken there in { $seconds } seconds.
    }
transition-stop = Stop the countdown
transition-stopped = The countdown is stopped. Nothing happens until you choose.
transition-skip = Skip ahead
transition-caution = Give passwords, one-time codes and bank details only to websites that you trust.

## The preview of a link

preview-title = Where this link goes
preview-going = It goes to
preview-short-link = Short link
preview-owner = Owned by
preview-since = Since
preview-purpose = What it is for
preview-question = Do you know this website? Does it fit the message that brought you here? If not, don’t open it.
# What other websites and messengers show of the preview when somebody shares it.
preview-summary = { $short_link } leads to { $domain }. It is owned by { $agency }.
preview-ask = Ask { $agency }, by a phone number or website that you already know.
preview-ask-owner = Ask the owner of the link: { $contact }

## The link is switched off or expired

gone-title = This link is switched off
gone-why = The link was real, but it no longer leads anywhere. Its owner switched it off, or its time is over.
gone-ask = Ask the agency that gave you the link. It can tell you where to find the page now.
gone-purpose = What the link was for
gone-ask-owner = Ask the owner of the link where to find the page now: { $contact }

## There is no such link

not-found-title = There is no such link
not-found-why = No short link has this address. A letter may be missing or mistyped.
not-found-compare = Compare the address with the message, letter or poster, letter by letter. A link has only letters, digits and hyphens after the slash.
not-found-ask = Still nothing? Ask the agency that gave you the link.

## Nobody can say now whether there is such a link

unavailable-title = Please try again shortly
unavailable-why = We can’t look up this link just now. The fault is ours. Your link is fine.
unavailable-wait = Wait a minute, then try again. You don’t need to type the link anew.

## Too many unknown links

limited-title = Too many tries
limited-why = Many links that don’t exist were opened from your network in a short time. So we ask you to wait.
limited-wait = Wait a minute, then try again.
limited-compare = Check the link for mistakes: compare it with the message, letter or poster.

## A form was sent to a link

method-title = This link can only be opened
method-why = A form or program tried to send something to a short link. Short links take nothing: what was sent was not kept.
method-open = Open the link in the address bar of your browser. If a form on a website brought you here, tell the owner of that website.

## A request that can't be read, because its address has characters that addresses can't have

unreadable-title = This address can’t be read
unreadable-why = The address is too long, or it has characters that a web address can’t have, such as quotation marks. They may have been copied along with the link.
unreadable-type = Type the link into the address bar of your browser, as it is printed. A link has only letters, digits and hyphens after the slash.
