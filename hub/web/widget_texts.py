"""What the chat widget says to visitors, in the five languages of the sites it stands on.

It lives in the script itself, on pages that are not ours: hence no catalogue of gettext. `%s` is a value.
"""

from __future__ import annotations

LANGUAGES = ("en", "ru", "sl", "et", "hy")

TEXTS: dict[str, tuple[str, str, str, str, str]] = {
    "title": ("Chat with us", "Напишите нам", "Pišite nam", "Kirjutage meile", "Գրեք մեզ"),
    "open": ("Open the chat", "Открыть чат", "Odpri klepet", "Ava vestlus", "Բացել զրույցը"),
    "close": ("Close the chat", "Закрыть чат", "Zapri klepet", "Sulge vestlus", "Փակել զրույցը"),
    "sound": ("Sound", "Звук", "Zvok", "Heli", "Ձայն"),
    "messages": ("Messages", "Сообщения", "Sporočila", "Sõnumid", "Հաղորդագրություններ"),
    "greeting": (
        "Hello! What can we do for you?",
        "Здравствуйте! Чем мы можем помочь?",
        "Pozdravljeni! Kako vam lahko pomagamo?",
        "Tere! Kuidas saame aidata?",
        "Բարև ձեզ։ Ինչո՞վ կարող ենք օգնել։",
    ),
    "online": ("We are here", "Мы на связи", "Na voljo smo", "Oleme kohal", "Մենք կապի մեջ ենք"),
    "soon": (
        "We answer as soon as we can",
        "Ответим, как только сможем",
        "Odgovorimo, takoj ko lahko",
        "Vastame esimesel võimalusel",
        "Կպատասխանենք հնարավորինս շուտ",
    ),
    "back": ("Back %s", "Ответим: %s", "Odgovorimo: %s", "Vastame: %s", "Կպատասխանենք՝ %s"),
    "away": ("Away just now", "Сейчас нас нет", "Trenutno nas ni", "Hetkel eemal", "Հիմա տեղում չենք"),
    "closed": (
        "Nobody is here now. Leave an e-mail or a phone: we will answer.",
        "Сейчас нерабочее время. Оставьте почту или телефон, и мы ответим.",
        "Trenutno nas ni. Pustite e-pošto ali telefon in odgovorili vam bomo.",
        "Praegu pole kedagi. Jätke e-post või telefon ja me vastame.",
        "Հիմա ոչ աշխատանքային ժամ է։ Թողեք էլ. փոստ կամ հեռախոս, և մենք կպատասխանենք։",
    ),
    "name": ("Name", "Имя", "Ime", "Nimi", "Անուն"),
    "email": ("E-mail", "Почта", "E-pošta", "E-post", "Էլ. փոստ"),
    "phone": ("Phone", "Телефон", "Telefon", "Telefon", "Հեռախոս"),
    "needed": (
        "Please fill this in, so that we can answer",
        "Заполните, чтобы мы могли ответить",
        "Izpolnite, da vam lahko odgovorimo",
        "Palun täitke, et saaksime vastata",
        "Լրացրեք, որ կարողանանք պատասխանել",
    ),
    "bad_email": (
        "Is this e-mail complete?",
        "Проверьте адрес почты",
        "Preverite e-poštni naslov",
        "Kontrollige e-posti aadressi",
        "Ստուգեք էլ. հասցեն",
    ),
    "bad_phone": (
        "Is this number complete?",
        "Проверьте номер телефона",
        "Preverite telefonsko številko",
        "Kontrollige telefoninumbrit",
        "Ստուգեք հեռախոսահամարը",
    ),
    "write": (
        "Write a message",
        "Напишите сообщение",
        "Napišite sporočilo",
        "Kirjutage sõnum",
        "Գրեք հաղորդագրություն",
    ),
    "send": ("Send", "Отправить", "Pošlji", "Saada", "Ուղարկել"),
    "attach": ("Attach files", "Прикрепить файлы", "Priloži datoteke", "Lisa faile", "Կցել ֆայլեր"),
    "remove": ("Remove %s", "Убрать %s", "Odstrani %s", "Eemalda %s", "Հեռացնել %s"),
    "large": (
        "At most 10 MB together",
        "Не больше 10 МБ вместе",
        "Skupaj največ 10 MB",
        "Kokku kuni 10 MB",
        "Միասին՝ մինչև 10 ՄԲ",
    ),
    "sending": ("sending…", "отправляется…", "pošiljam …", "saadan…", "ուղարկվում է…"),
    "failed": ("not sent", "не отправлено", "ni poslano", "saatmata", "չի ուղարկվել"),
    "again": ("Try again", "Повторить", "Poskusi znova", "Proovi uuesti", "Կրկնել"),
    "seen": ("Seen", "Прочитано", "Videno", "Nähtud", "Տեսել են"),
    "gone": ("Message deleted", "Сообщение удалено", "Sporočilo izbrisano", "Sõnum kustutatud", "Ջնջված է"),
    "typing": ("Writing…", "Печатает…", "Piše …", "Kirjutab…", "Գրում է…"),
    "you": ("You", "Вы", "Vi", "Teie", "Դուք"),
    "us": ("We", "Мы", "Mi", "Meie", "Մենք"),
    "unread": ("unread: %s", "непрочитанных: %s", "neprebrano: %s", "lugemata: %s", "չկարդացված՝ %s"),
    "earlier": ("Earlier messages", "Более ранние", "Starejša sporočila", "Varasemad sõnumid", "Ավելի վաղ"),
    "offline": (
        "No connection. What you write goes out once it is back.",
        "Нет связи. Написанное уйдёт, когда она вернётся.",
        "Ni povezave. Napisano bo poslano, ko se vrne.",
        "Ühendus puudub. Kirjutatu saadetakse, kui see taastub.",
        "Կապ չկա։ Գրածը կուղարկվի, երբ այն վերականգնվի։",
    ),
    "kb": ("kB", "кБ", "kB", "kB", "կԲ"),
    "mb": ("MB", "МБ", "MB", "MB", "ՄԲ"),
}
