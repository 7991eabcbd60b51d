## The language itself

language-name = Bahasa Melayu
language-direction = ltr
number-separator = ,
date =
    { $day } { $month ->
        [1] Januari
        [2] Februari
        [3] Mac
        [4] April
        [5] Mei
        [6] Jun
        [7] Julai
        [8] Ogos
        [9] September
        [10] Oktober
        [11] November
       *[12] Disember
    } { $year }

## On every page

languages-label = Bahasa
next-title = Apa yang boleh anda lakukan
try-again = Cuba lagi
open-link = Buka pautan
full-address-label = Alamat penuh
footer-about = { $site } menyediakan pautan pendek untuk agensi kerajaan.
footer-check = Cara menyemak pautan
footer-officers = Untuk pegawai

## The landing page

landing-title = Pautan pendek daripada kerajaan
landing-about = Agensi kerajaan menggunakan { $site } untuk memendekkan alamat web yang panjang. Anda akan menemui pautan ini dalam surat, mesej teks, poster dan kod QR. Hanya pegawai kerajaan boleh membuatnya.
landing-links = Pautan pendek
landing-clicks = Klik
landing-officers = Pegawai
check-title = Cara menyemak pautan
check-beginning = <strong>Lihat bahagian awalnya.</strong> Pautan kami bermula dengan <code>{ $host }/</code>. Perhatikan tanda garis miring: <code>{ $host }.example.com/</code> bukan pautan kami.
check-target = <strong>Lihat ke mana ia menuju.</strong> Tambah <code>+</code> di hujung pautan, seperti <code>{ $host }/tax-guide+</code>. Anda akan melihat laman web dan agensi yang bertanggungjawab, tanpa dibawa ke sana lagi.
check-arrival = <strong>Lihat sekali lagi apabila tiba.</strong> Baca alamat laman web itu sebelum menaip apa-apa.
wrong-title = Jika ada sesuatu yang mencurigakan
wrong-close = Tutup halaman itu. Tanya agensi yang disebut dalam mesej itu melalui nombor telefon atau laman web yang anda sudah tahu.
wrong-report = Anda juga boleh melaporkan pautan itu kepada kami: { $contact }

## Before the first visit

transition-title = Semak ke mana pautan ini menuju
transition-going = Anda akan pergi ke
transition-question = Adakah anda mengenali laman web ini, dan adakah anda menjangkakannya? Jika tidak, tutup halaman ini.
transition-countdown = Anda akan dibawa ke sana dalam { $seconds } saat.
transition-stop = Hentikan kiraan detik
transition-stopped = Kiraan detik telah dihentikan. Tiada apa-apa akan berlaku sehingga anda membuat pilihan.
transition-skip = Teruskan sekarang
transition-caution = Berikan kata laluan, kod sekali guna dan butiran bank hanya kepada laman web yang anda percayai.

## The preview of a link

preview-title = Ke mana pautan ini menuju
preview-going = Ia menuju ke
preview-short-link = Pautan pendek
preview-owner = Dimiliki oleh
preview-since = Sejak
preview-purpose = Tujuannya
preview-question = Adakah anda mengenali laman web ini? Adakah ia sepadan dengan mesej yang anda terima? Jika tidak, jangan buka.
preview-summary = { $short_link } menuju ke { $domain }. Ia dimiliki oleh { $agency }.
preview-ask = Tanya { $agency } melalui nombor telefon atau laman web yang anda sudah tahu.
preview-ask-owner = Tanya pemilik pautan: { $contact }

## The link is switched off or expired

gone-title = Pautan ini telah dinyahaktifkan
gone-why = Pautan ini memang pernah wujud, tetapi kini tidak lagi menuju ke mana-mana. Pemiliknya telah menyahaktifkannya, atau tempohnya sudah tamat.
gone-ask = Tanya agensi yang memberikan pautan itu kepada anda. Agensi itu boleh memberitahu anda di mana halaman itu sekarang.
gone-purpose = Tujuan pautan ini
gone-ask-owner = Tanya pemilik pautan di mana halaman itu sekarang: { $contact }

## There is no such link

not-found-title = Pautan ini tidak wujud
not-found-why = Tiada pautan pendek dengan alamat ini. Mungkin ada huruf yang tertinggal atau tersilap taip.
not-found-compare = Bandingkan alamat itu dengan mesej, surat atau poster, huruf demi huruf. Selepas tanda garis miring hanya ada huruf, angka dan tanda sempang.
not-found-ask = Masih tidak berjaya? Tanya agensi yang memberikan pautan itu kepada anda.

## Nobody can say now whether there is such a link

unavailable-title = Sila cuba sebentar lagi
unavailable-why = Kami tidak dapat mencari pautan ini sekarang. Masalah ini di pihak kami. Pautan anda tidak bermasalah.
unavailable-wait = Tunggu seminit, kemudian cuba lagi. Anda tidak perlu menaip semula pautan itu.

## Too many unknown links

limited-title = Terlalu banyak percubaan
limited-why = Banyak pautan yang tidak wujud telah dibuka dari rangkaian anda dalam masa yang singkat. Oleh itu, sila tunggu sebentar.
limited-wait = Tunggu seminit, kemudian cuba lagi.
limited-compare = Semak jika pautan itu tersilap: bandingkan dengan mesej, surat atau poster.

## A form was sent to a link

method-title = Pautan ini hanya boleh dibuka
method-why = Satu borang atau program cuba menghantar sesuatu ke pautan pendek. Pautan pendek tidak menerima apa-apa: apa yang dihantar tidak disimpan.
method-open = Buka pautan ini di bar alamat pelayar anda. Jika borang di sebuah laman web membawa anda ke sini, beritahu pemilik laman web itu.

## A request that can't be read, because its address has characters that addresses can't have

unreadable-title = Alamat ini tidak dapat dibaca
unreadable-why = Alamat ini terlalu panjang, atau mengandungi aksara yang tidak boleh ada dalam alamat web, seperti tanda petik. Aksara itu mungkin tersalin bersama pautan.
unreadable-type = Taip pautan itu di bar alamat pelayar anda, seperti yang dicetak. Selepas tanda garis miring hanya ada huruf, angka dan tanda sempang.
