"""A form on somebody's website, as browsers, curl and builders send it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from channels import registry
from channels.contract import Channel, ParseContext, Receiver
from channels.webform import WebForm
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Attribution, Claim, Incoming, Trust
from core.kernel.errors import NotFound, Rejected
from webhooks.errors import Malformed, Refused, Unsupported
from webhooks.request import RawRequest

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
MOSCOW = ParseContext("RU", "Europe/Moscow", NOW)
URLENCODED = "application/x-www-form-urlencoded"
BOUNDARY = "----WebKitFormBoundaryx"

VERA = {
    "name": "Вера Иванова",
    "phone": "8 (916) 123-45-67",
    "email": "Vera@Example.com",
    "message": "3 окна, смету, пожалуйста",
}
PHONE = Claim(Address("phone", "+79161234567"), "8 (916) 123-45-67", Trust.TYPED)
EMAIL = Claim(Address("email", "vera@example.com"), "Vera@Example.com", Trust.TYPED)


def web_form(**settings: object) -> WebForm:
    channel = registry.build("webform", settings)
    assert isinstance(channel, WebForm)
    return channel


def post(fields: object = VERA, content_type: str = URLENCODED, query: str = "", **headers: str) -> RawRequest:
    if isinstance(fields, bytes):
        body = fields
    elif content_type == URLENCODED:
        body = urlencode(fields).encode()  # type: ignore[arg-type]
    else:
        body = json.dumps(fields, ensure_ascii=False).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        named["content-type"] = content_type
    return RawRequest(body, headers=named, query=query, client="203.0.113.7", url="https://crm.example.com/hooks/abc")


def read(request: RawRequest, context: ParseContext = MOSCOW, **settings: object) -> Incoming:
    channel = web_form(**settings)
    channel.verify(request, NOW)
    channel.route(request)
    (event,) = channel.parse(request, context)
    assert isinstance(event, Incoming)
    return event


def multipart(*parts: tuple[str, str] | tuple[str, str, str, bytes]) -> RawRequest:
    body = b""
    for part in parts:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{part[0]}"'.encode()
        if len(part) == 2:
            body += f"\r\n\r\n{part[1]}\r\n".encode()
        else:
            body += f'; filename="{part[1]}"\r\nContent-Type: {part[2]}\r\n\r\n'.encode() + part[3] + b"\r\n"
    return post(body + f"--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}")


def test_it_keeps_the_contract():
    channel: Channel = registry.build("webform", {})
    assert isinstance(channel, Receiver)
    assert (channel.kind, channel.title) == ("webform", "Website form")


def test_the_form_of_the_main_scenario_is_understood():
    assert read(post({**VERA, "utm_source": "google", "utm_campaign": "spring"})) == Incoming(
        external_id="",
        claims=(PHONE, EMAIL),
        name="Вера Иванова",
        text="3 окна, смету, пожалуйста",
        attribution=Attribution(utm_source="google", utm_campaign="spring"),
        is_form=True,
    )


# What each sender posts, down to its names and wrapping; all of them mean the same person and text.
CF7 = {
    "your-name": "Вера Иванова",
    "your-email": "Vera@Example.com",
    "tel-583": "8 (916) 123-45-67",
    "your-message": "3 окна, смету, пожалуйста",
}
ELEMENTOR = {
    "form[id]": "6f3",
    "form[name]": "Заявка с сайта",
    **{
        f"fields[{key}][{what}]": said
        for key, kind, title, value in (
            ("name", "text", "Имя", "Вера Иванова"),
            ("field_1a2", "tel", "Куда звонить", "8 (916) 123-45-67"),
            ("email", "email", "Почта", "Vera@Example.com"),
            ("message", "textarea", "", "3 окна, смету, пожалуйста"),
        )
        for what, said in {"id": key, "type": kind, "title": title, "value": value, "raw_value": value}.items()
    },
    "meta[page_url][title]": "Page URL",
    "meta[page_url][value]": "https://shop.example/okna",
}
SENDERS = {
    "a browser": post(accept="text/html", sec_fetch_mode="navigate"),
    "a browser, multipart": multipart(*VERA.items()),
    "curl": post(
        "name=Вера Иванова&phone=8 (916) 123-45-67&email=Vera@Example.com&message=3 окна, смету, пожалуйста".encode()
    ),
    "curl with JSON": post(json.dumps(VERA).encode()),
    "fetch with JSON": post(VERA, "application/json"),
    "jQuery": post([{"name": name, "value": value} for name, value in VERA.items()], "application/json"),
    "Contact Form 7": post(CF7, "application/json"),
    "Elementor, simple": post(
        {"Имя": "Вера Иванова", "Телефон": VERA["phone"], "Email": VERA["email"], "Сообщение": VERA["message"]}
    ),
    "Elementor, advanced": post(ELEMENTOR),
    "Elementor's own page": multipart(*((f"form_fields[{name}]", value) for name, value in VERA.items())),
    "Tilda": post(
        {"Name": "Вера Иванова", "Phone": VERA["phone"], "Email": VERA["email"], "Textarea": VERA["message"]}
    ),
    "Bitrix in windows-1251": post(
        urlencode(
            {"ФИО": VERA["name"], "Телефон": VERA["phone"], "E-mail": VERA["email"], "Комментарий": VERA["message"]},
            encoding="cp1251",
        ).encode()
    ),
    "Bitrix CRM": post(
        {
            "fields[NAME]": VERA["name"],
            "fields[PHONE][0][VALUE]": VERA["phone"],
            "fields[EMAIL][0][VALUE]": VERA["email"],
            "fields[COMMENTS]": VERA["message"],
        }
    ),
    "WPForms": post(
        {
            "name[first]": "Вера",
            "name[last]": "Иванова",
            "phone": VERA["phone"],
            "email": VERA["email"],
            "message": VERA["message"],
        }
    ),
    "Vue": post(
        {"contact": {k: VERA[k] for k in ("name", "phone", "email")}, "message": VERA["message"]}, "application/json"
    ),
    "two names": post(
        {
            "Имя": "Вера",
            "Фамилия": "Иванова",
            "тел.": VERA["phone"],
            "Эл. почта": VERA["email"],
            "Ваш вопрос": VERA["message"],
        }
    ),
    "the fields swapped": post({**VERA, "phone": VERA["email"], "email": VERA["phone"]}),
    "one field for both": post(
        {"name": VERA["name"], "contact": f"{VERA['phone']}, {VERA['email']}", "message": VERA["message"]}
    ),
}


@pytest.mark.parametrize("sender", SENDERS)
def test_every_sender_is_understood(sender):
    event = read(SENDERS[sender])
    assert [claim.address for claim in event.claims] == [PHONE.address, EMAIL.address]
    assert all(claim.trust is Trust.TYPED for claim in event.claims)
    assert (event.name, event.text) == ("Вера Иванова", "3 окна, смету, пожалуйста")


def test_the_form_s_own_name_is_never_the_person_s():
    event = read(SENDERS["Elementor, advanced"])
    assert event.fields == {"form[id]": "6f3", "form[name]": "Заявка с сайта"}
    assert event.attribution.landing_page == "https://shop.example/okna"
    event = read(post({"form_name": "Заявка", "formname": "x", "product[name]": "Окно", "phone": "8 916 123-45-67"}))
    assert event.name == ""
    assert event.fields == {"form_name": "Заявка", "formname": "x", "product[name]": "Окно"}


def test_everything_else_is_kept_in_order_under_its_own_name():
    body = b"city=Tver&Phone=8+916+123-45-67&size%5B%5D=10&size%5B%5D=20&empty=&budget=5&city=Klin"
    event = read(post(body))
    assert list(event.fields.items()) == [("city", "Tver, Klin"), ("size[]", "10, 20"), ("empty", ""), ("budget", "5")]


def test_two_hundred_fields_lose_nothing():
    fields = {f"field {number} 😀": f"value {number}" for number in range(200)}
    assert read(post(fields)).fields == fields


def test_two_phones_are_two_claims_and_the_first_name_wins():
    event = read(post(b"name=&name=Vera&name=Boris&phone=8+916+123-45-67&phone=8+495+111-22-33&phone=89161234567"))
    assert [claim.address.value for claim in event.claims] == ["+79161234567", "+74951112233"]
    assert event.name == "Vera"
    assert event.fields == {"name": "Boris"}


def test_nobody_has_fifty_phones_but_all_are_shown():
    event = read(post([("phone", f"8 916 123-45-{number}") for number in range(10, 60)]))
    assert len(event.claims) == 10
    assert event.fields["phone"].count("8 916") == 40


def test_what_is_no_address_is_still_shown_to_a_person():
    event = read(post({"phone": "after six", "email": "vera at example", "name": "Vera"}))
    assert event.claims == ()
    assert event.fields == {"phone": "after six", "email": "vera at example"}


def test_nameless_fields_give_an_address_only_where_it_is_evident():
    event = read(post({"text-1": "Vera", "text-2": "+7 916 123-45-67", "text-3": "7707083893", "inn": "770708389312"}))
    assert [claim.address.value for claim in event.claims] == ["+79161234567"]
    assert event.fields["text-3"] == "7707083893"


def test_a_phone_without_a_country_is_read_in_the_connection_s():
    armenia = ParseContext("AM", "Asia/Yerevan", NOW)
    assert read(post({"tel": "091 12-34-56"}), armenia).claims[0].address.value == "+37491123456"


def test_files_become_attachments():
    event = read(
        multipart(("name", "Vera"), ("plan", "план.pdf", "application/pdf", b"%PDF"), ("phone", "89161234567"))
    )
    assert event.attachments == (Attachment("план.pdf", "application/pdf", 4, 1),)
    assert read(multipart(("plan", "план.pdf", "application/pdf", b"%PDF"))).attachments, "a file alone says enough"


def test_marks_are_found_in_fields_in_the_query_and_in_the_page_s_address():
    page = "https://shop.example/?utm_source=ya%20ndex&utm_medium=cpc&yclid=5&x=1"
    in_fields = read(post({**VERA, "UTM_Source": "google", "landing_page": page, "_ga": "GA1.2", "gclid": "g"}))
    assert in_fields.attribution == Attribution(utm_source="google", landing_page=page, ga="GA1.2", gclid="g")
    in_page = read(post({**VERA, "landing_page": page, "referrer": "https://ya.ru/"}))
    assert in_page.attribution == Attribution(
        utm_source="ya ndex", utm_medium="cpc", yclid="5", landing_page=page, referrer="https://ya.ru/"
    )
    assert read(post(referer=page)).attribution.utm_source == "ya ndex"
    assert read(post(query="utm_source=hook&fbclid=f")).attribution == Attribution(utm_source="hook", fbclid="f")


def test_consent_language_company_and_subject_are_understood():
    event = read(
        post({**VERA, "consent": "I agree to be called", "lang": "ru_RU", "company": "ООО Окна", "Тема": "Окна"})
    )
    assert (event.consent, event.language, event.company, event.subject) == (
        "I agree to be called", "ru-RU", "ООО Окна", "Окна",
    )  # fmt: skip
    assert read(post(accept_language="hy-AM,hy;q=0.9")).language == "hy-AM"
    assert read(post()).consent is None


def test_the_submission_id_names_the_request():
    request = post({**VERA, "submission_id": "abc-1"})
    assert web_form().route(request) == ("id:abc-1", None, "phone:9161234567")
    assert read(request).external_id == "abc-1"
    assert read(request).fields == {}
    assert len(web_form().route(post({"submission_id": "x" * 5_000, "a": "b"})).dedupe_key) < 100


def test_the_same_content_from_the_same_client_is_a_repeat_for_a_minute():
    channel = web_form()
    first = channel.route(post())
    assert first.repeat_within == timedelta(seconds=60)
    assert channel.route(post(dict(reversed(VERA.items())))) == first, "the order does not matter"
    assert channel.route(post({**VERA, "redirect": "https://x.example", "trap": ""})) == first
    assert channel.route(post(VERA, "application/json")) == first, "nor does the wrapping"
    assert channel.route(post({**VERA, "message": "5 окон"})).dedupe_key != first.dedupe_key
    assert channel.route(post(user_agent="another")).dedupe_key != first.dedupe_key
    other = RawRequest(post().body, headers=post().headers, client="203.0.113.8")
    assert channel.route(other).dedupe_key != first.dedupe_key


@pytest.mark.parametrize("phone", ["8 (916) 123-45-67", "+7 916 1234567", "79161234567", "９１６１２３４５６７"])
def test_one_person_s_requests_share_a_lane_however_the_phone_is_spelt(phone):
    peer = web_form().route(post({"phone": phone, "x": "1"})).peer
    assert peer.removeprefix("phone:").translate(str.maketrans("９１６２３４５７", "91623457")) == "9161234567"


def test_without_a_phone_the_email_names_the_peer_and_else_nobody_does():
    assert web_form().route(post({"email": "Vera@Example.com"})).peer == "email:vera@example.com"
    assert web_form().route(post({"comment": "hello"})).peer == ""


def test_a_bot_in_the_honeypot_is_acknowledged_and_ignored():
    request = post({**VERA, "trap": "http://spam.example"})
    channel = web_form()
    channel.verify(request, NOW)
    assert json.loads(channel.acknowledge(request, "r1").body) == {"ok": True, "reference": "r1"}
    with pytest.raises(Unsupported, match="honeypot"):
        channel.parse(request, MOSCOW)
    assert read(post({**VERA, "trap": ""})).name == "Вера Иванова"


@pytest.mark.parametrize(
    "request_",
    [
        post(b""),
        post(b"   ", "application/json"),
        post({"name": "", "phone": " "}),
        post({"utm_source": "google", "redirect": "https://x.example", "consent": "yes"}),
        post({}, "application/json"),
        post(b"{", "application/json"),
        post(b"=&=&="),
        RawRequest(method="GET", query="utm_source=mail"),
    ],
)
def test_a_form_that_says_nothing_is_refused(request_):
    with pytest.raises(Malformed, match=r"\.$"):
        web_form().verify(request_, NOW)


def test_a_get_with_the_fields_in_the_query_is_a_form_too():
    assert read(RawRequest(method="GET", query=urlencode(VERA))).claims == (PHONE, EMAIL)


@pytest.mark.parametrize(
    ("allowed", "origin", "taken"),
    [
        ("", "https://anybody.example", True),
        ("https://shop.example", None, True),
        ("https://shop.example", "https://shop.example", True),
        ("https://shop.example", "https://shop.example:443", True),
        ("HTTPS://Shop.Example/form.html", "https://shop.example", True),
        ("https://a.example, https://shop.example", "https://shop.example", True),
        (["https://a.example", "https://shop.example"], "https://shop.example", True),
        ("shop.example", "http://shop.example", True),
        ("https://магазин.рф", "https://xn--80aairftm.xn--p1ai", True),
        ("*", "https://anybody.example", True),
        ("https://shop.example", "https://crm.example.com", True),  # our own hosted form
        ("https://shop.example", "http://shop.example", False),
        ("https://shop.example", "https://shop.example:8443", False),
        ("https://shop.example", "https://evil.example", False),
        ("https://shop.example", "https://shop.example.evil.example", False),
        ("https://shop.example", "https://evil.example/https://shop.example", False),
        ("https://shop.example", "null", False),
        ("https://shop.example", "\udcff", False),
    ],
)
def test_only_pages_of_listed_origins_may_post(allowed, origin, taken):
    channel = web_form(allowed_origins=allowed)
    request = post(**({} if origin is None else {"origin": origin}))
    if taken:
        channel.verify(request, NOW)
    else:
        with pytest.raises(Refused, match="allowed origins") as refusal:
            channel.verify(request, NOW)
        str(refusal.value).encode()


def test_only_listed_origins_get_cors():
    channel = web_form(allowed_origins="https://shop.example")
    shop, evil = post(origin="https://shop.example"), post(origin="https://evil.example")
    allowed = {"Access-Control-Allow-Origin": "https://shop.example", "Vary": "Origin"}
    assert channel.cors_headers(shop) == allowed
    assert channel.acknowledge(shop, "r").headers == allowed
    assert channel.cors_headers(evil) == channel.cors_headers(post()) == {"Vary": "Origin"}
    assert channel.cors_headers(post(origin="https://shop.example\r\nX: y")) == {"Vary": "Origin"}
    assert web_form().cors_headers(shop) == {}
    assert web_form(allowed_origins="*").cors_headers(evil) == {"Access-Control-Allow-Origin": "*"}


def test_a_preflight_is_answered_for_listed_origins_only():
    channel = web_form(allowed_origins=["https://shop.example"])
    answer = channel.preflight(RawRequest(method="OPTIONS", headers={"origin": "https://shop.example"}))
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    refused = channel.preflight(RawRequest(method="OPTIONS", headers={"origin": "https://evil.example"}))
    assert refused.status == 403
    assert "Access-Control-Allow-Origin" not in refused.headers


BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"accept": "*/*"}, 200),
        ({"accept": "application/json"}, 200),
        ({**BROWSER, "x_requested_with": "XMLHttpRequest"}, 200),
        ({**BROWSER, "sec_fetch_mode": "cors"}, 200),
        ({**BROWSER, "sec_fetch_mode": "no-cors"}, 200),
        (BROWSER, 303),
        ({**BROWSER, "sec_fetch_mode": "navigate"}, 303),
    ],
)
def test_scripts_are_answered_in_json_and_browsers_with_a_page(headers, status):
    answer = web_form().acknowledge(post(**headers), "ref 1/2")
    assert answer.status == status
    if status == 200:
        assert json.loads(answer.body) == {"ok": True, "reference": "ref 1/2"}
        assert answer.content_type == "application/json"
    else:
        assert answer.headers["Location"] == "/f/thanks?reference=ref%201%2F2"


REDIRECTS = "https://shop.example/thanks, https://other.example/, third.example"


@pytest.mark.parametrize(
    "target",
    [
        "https://shop.example/thanks",
        "https://shop.example/thanks/",
        "https://shop.example/thanks?ok=1#top",
        "https://shop.example/thanks/windows",
        "https://SHOP.example:443/thanks",
        "https://other.example/any/page",
        "https://third.example",
        "https://third.example/x",
    ],
)
def test_a_browser_is_sent_where_the_connection_allows(target):
    answer = web_form(redirects=REDIRECTS).acknowledge(post({**VERA, "redirect": target}, **BROWSER), "r")
    assert (answer.status, answer.headers["Location"]) == (303, target)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "https://evil.example/thanks",
        "//evil.example/thanks",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https:/shop.example/thanks",
        "https:///evil.example",
        "https://shop.example@evil.example/thanks",
        "https://user:pw@shop.example/thanks",
        "https://shop.example\\@evil.example/thanks",
        "https://evil.example\\.shop.example/thanks",
        "https://evil.example#@shop.example/thanks",
        "https://evil.example?https://shop.example/thanks",
        "https://shop.example.evil.example/thanks",
        "https://shop.example%2eevil.example/thanks",
        "https://shop.example:443@evil.example/",
        "https://shop.example:8443/thanks",
        "https://shop.example:/thanks",
        "http://shop.example/thanks",
        "https://shop.example/thanksgiving",
        "https://shop.example/",
        "https://shop.example/thanks/../admin",
        "https://shop.example/thanks/%2e%2e/admin",
        "https://shop.example/thanks/%252e%252e/admin",
        "https://shop.example/thanks/..%5cadmin",
        "https://shop.example/thanks\r\nSet-Cookie: a=b",
        "https://shop.example/thanks%0d%0aSet-Cookie:a=b",
        "https://shop.example\t.evil.example/thanks",
        "https://shop。example/thanks",
        "https://[::1/thanks",
        "https://shop.example:99999/thanks",
        "javascript:alert(1)",
        "data:text/html,x",
        " https://evil.example",
        "thanks",
        "/thanks",
    ],
)
def test_there_is_no_open_redirect(target):
    answer = web_form(redirects=REDIRECTS).acknowledge(post({**VERA, "redirect": target}, **BROWSER), "r")
    assert (answer.status, answer.headers["Location"]) == (303, "/f/thanks?reference=r")
    answer = web_form().acknowledge(post({**VERA, "redirect": "https://shop.example/thanks"}, **BROWSER), "r")
    assert answer.headers["Location"] == "/f/thanks?reference=r", "an empty list allows no page"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"allowed_origins": "https://"}, "allowed_origins"),
        ({"allowed_origins": ["ftp://shop.example"]}, "allowed_origins"),
        ({"allowed_origins": 5}, "allowed_origins"),
        ({"redirects": "/thanks"}, "redirects"),
        ({"redirects": ["javascript://shop.example/%0aalert(1)"]}, "redirects"),
        ({"redirects": "https://user@shop.example"}, "redirects"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_setting_is_named(settings, field):
    with pytest.raises(Rejected, match=field) as refusal:
        registry.build("webform", settings)
    assert refusal.value.field == field


def test_an_unknown_kind_names_those_there_are():
    with pytest.raises(NotFound, match=r"'fax'.*webform"):
        registry.build("fax", {})
