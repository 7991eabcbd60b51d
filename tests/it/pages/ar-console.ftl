console-skip = انتقل إلى الصفحة
console-name = لوحة الموظفين
console-menu-label = لوحة الموظفين
console-links = الروابط
console-directory = الدليل
console-keys = مفاتيح API
console-account = الحساب
console-about = حول { $site }
console-languages-label = اللغة
console-moment = { $date }، { $time }
console-copy = انسخ
console-copied = تم النسخ
console-cancel = إلغاء
login-title = تسجيل الدخول
login-email-label = عنوان بريدك الإلكتروني في العمل
login-email-hint = العناوين التي يمكنها تسجيل الدخول: { $patterns }
list-title = روابطك
list-create = أنشئ رابطًا
list-search = ابحث في الاسم أو الهدف أو الوصف
list-tag = وسم
list-state = الحالة
list-order = الترتيب
list-show = اعرض
list-clicks =
    { $number ->
        [zero] لا نقرات
        [one] نقرة واحدة
        [two] نقرتان
        [few] { $clicks } نقرات
        [many] { $clicks } نقرة
       *[other] { $clicks } نقرة
    }
list-to-clicks = النقرات
list-to-clicks-label = نقرات { $code }
list-copy-label = انسخ { $link }
state-on = يعمل
state-off = متوقف
state-expired = منتهٍ
link-menu-label = هذا الرابط
link-settings = الإعدادات
link-clicks = النقرات
link-history = السجل
fields-target = إلى أين يؤدي
fields-target-hint = عنوان عام يبدأ بـ https://
fields-description = الوصف
fields-contact = جهة الاتصال
fields-tags = الوسوم
fields-expires = ينتهي في
create-title = أنشئ رابطًا
create-code = الاسم
create-code-hint = أحرف صغيرة وأرقام وشرطات. إذا تُرك فارغًا يُختار اسم عشوائي.
history-you = أنت
history-created = { $who } أنشأ الرابط
history-target = يؤدي إلى
history-tags = الوسوم
clicks-people = نقرات الناس
clicks-daily-title = يومًا بيوم
clicks-hourly-title = حسب اليوم والساعة
clicks-monday-label = الاثنين
clicks-tuesday-label = الثلاثاء
clicks-wednesday-label = الأربعاء
clicks-thursday-label = الخميس
clicks-friday-label = الجمعة
clicks-saturday-label = السبت
clicks-sunday-label = الأحد
clicks-devices-title = الأجهزة
clicks-desktop-label = حاسوب
clicks-mobile-label = هاتف
clicks-tablet-label = لوحي
clicks-others-label = أخرى
