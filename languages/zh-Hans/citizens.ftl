## The language itself

language-name = 中文
language-direction = ltr
number-separator = ,
date = { $year }年{ $month }月{ $day }日

## On every page

languages-label = 语言
next-title = 您可以这样做
try-again = 再试一次
open-link = 打开链接
full-address-label = 完整网址
footer-about = { $site } 为政府机构提供短链接。
footer-check = 如何查验链接
footer-officers = 公务人员入口

## The landing page

landing-title = 政府短链接
landing-about = 政府机构使用 { $site } 把冗长的网址缩短。您会在信件、短信、海报和二维码中看到这些链接。只有公务员才能创建。
landing-links = 短链接
landing-clicks = 点击次数
landing-officers = 公务员
check-title = 如何查验链接
check-beginning = <strong>看开头。</strong>我们的链接以 <code>{ $host }/</code> 开头。请留意斜杠：<code>{ $host }.example.com/</code> 不是我们的链接。
check-target = <strong>看它指向哪里。</strong>在链接末尾加上 <code>+</code>，例如 <code>{ $host }/tax-guide+</code>。您会看到目标网站和负责的机构，而不会马上前往。
check-arrival = <strong>到达后再看一眼。</strong>输入任何资料之前，先看清楚网站的网址。
wrong-title = 如果发现不对劲
wrong-close = 请关闭页面，并通过您已知的电话号码或网站，向信息中提到的机构查询。
wrong-report = 您也可以向我们举报该链接：{ $contact }

## Before the first visit

transition-title = 请确认链接指向哪里
transition-going = 您即将前往
transition-question = 您认识这个网站吗？这是您要去的地方吗？如果不是，请关闭本页。
transition-countdown = { $seconds } 秒后将自动前往。
transition-stop = 停止倒计时
transition-stopped = 倒计时已停止。在您作出选择之前，不会自动前往。
transition-skip = 立即前往
transition-caution = 只在您信任的网站上输入密码、一次性验证码和银行资料。

## The preview of a link

preview-title = 这个链接指向哪里
preview-going = 它指向
preview-short-link = 短链接
preview-owner = 所属机构
preview-since = 创建日期
preview-purpose = 用途
preview-question = 您认识这个网站吗？它和您收到的信息相符吗？如果不相符，请不要打开。
preview-summary = { $short_link } 指向 { $domain }，由 { $agency } 管理。
preview-ask = 请通过您已知的电话号码或网站，向 { $agency } 查询。
preview-ask-owner = 请向链接的负责人查询：{ $contact }

## The link is switched off or expired

gone-title = 这个链接已停用
gone-why = 这个链接曾经有效，但现在已不再指向任何网页。它已被负责人停用，或已过期。
gone-ask = 请向提供链接的机构查询，他们会告诉您现在可以在哪里找到该网页。
gone-purpose = 链接原来的用途
gone-ask-owner = 请向链接的负责人查询该网页现在的位置：{ $contact }

## There is no such link

not-found-title = 没有这个链接
not-found-why = 没有任何短链接使用这个网址。可能是漏了或打错了字母。
not-found-compare = 请把网址和信息、信件或海报上的逐个字母核对。斜杠后面只有字母、数字和连字符。
not-found-ask = 还是找不到？请向提供链接的机构查询。

## Nobody can say now whether there is such a link

unavailable-title = 请稍后再试
unavailable-why = 我们暂时无法查找这个链接。这是我们的问题，您的链接没有错。
unavailable-wait = 请等一分钟再试。您不需要重新输入链接。

## Too many unknown links

limited-title = 尝试次数过多
limited-why = 短时间内，有人从您的网络打开了许多不存在的链接，因此请您稍等。
limited-wait = 请等一分钟再试。
limited-compare = 检查链接是否有误：请和信息、信件或海报上的核对。

## A form was sent to a link

method-title = 这个链接只能用来打开
method-why = 有表单或程序试图向短链接发送资料。短链接不接收任何资料，发送的内容没有被保存。
method-open = 请在浏览器的地址栏打开这个链接。如果您是从某个网站的表单来到这里，请告知该网站的负责人。

## A request that can't be read, because its address has characters that addresses can't have

unreadable-title = 无法识别这个网址
unreadable-why = 这个网址太长，或者含有网址不能使用的字符，例如引号。这些字符可能是复制链接时一起带上的。
unreadable-type = 请按照印出的样子，在浏览器的地址栏中输入链接。斜杠后面只有字母、数字和连字符。
