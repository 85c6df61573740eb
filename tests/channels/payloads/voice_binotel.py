from __future__ import annotations

from urllib.parse import urlencode

from webhooks.request import RawRequest

TOKEN = "b1n0tel-t0ken-b1n0tel"
SECRET = "cafe01-api-secret-cafe01"
COMPANY, LINE, CUSTOMER = "94066", "0443334023", "0501234567"
SETTINGS = {
    "token": TOKEN,
    "company_id": COMPANY,
    "api_key": "a1b2c3-key",
    "api_secret": SECRET,
    "secret": "l00k-up-s3cret",
    "addresses": ["194.88.218.0/24", "194.88.219.67"],
}


def posted(form: dict[str, str]) -> RawRequest:
    return RawRequest(
        urlencode(form).encode(),
        headers={"content-type": "application/x-www-form-urlencoded"},
        query=f"token={TOKEN}",
        client="194.88.218.116",
    )


def told(event: str, call: int, *, extension: str = "", way: str = "0", **more: str) -> RawRequest:
    """API PUSH: what happens while a call goes on."""
    form = {
        "externalNumber": CUSTOMER,
        "internalNumber": extension,
        "pbxNumber": LINE,
        "generalCallID": str(call),
        "callType": way,
        "companyID": COMPANY,
        "requestType": event,
        **more,
    }
    return posted({name: value for name, value in form.items() if value})


def hung_up(call: int, disposition: str, seconds: int) -> RawRequest:
    return posted(
        {
            "generalCallID": str(call),
            "billsec": str(seconds),
            "disposition": disposition,
            "requestType": "hangupTheCall",
            "method": "hangupTheCall",
        }
    )


def completed(
    call: int,
    disposition: str,
    seconds: int,
    *,
    start: int,
    wait: int,
    extension: str = "901",
    way: str = "0",
    attempt: int = 1,
    **more: str,
) -> RawRequest:
    """API CALL COMPLETED: all there is to say of a call, nested as PHP nests it."""
    details = {
        "companyID": COMPANY,
        "generalCallID": str(call),
        "callID": str(call),
        "startTime": str(start),
        "callType": way,
        "internalNumber": extension,
        "internalAdditionalData": "",
        "externalNumber": CUSTOMER,
        "waitsec": str(wait),
        "billsec": str(seconds),
        "disposition": disposition,
        "recordingStatus": "uploading" if seconds else "none",
        "isNewCall": "0",
        "whoHungUp": "external",
        "customerData][id": "12345",
        "customerData][name": "Ірина Коваль",
        "employeeData][name": "Віра Мельник",
        "employeeData][email": "vera@shop.example",
        "pbxNumberData][number": LINE,
        "pbxNumberData][name": "Магазин",
        "historyData][0][waitsec": str(wait),
        "historyData][0][billsec": str(seconds),
        "historyData][0][disposition": disposition,
        "historyData][0][internalNumber": extension,
        "linkToCallRecordInMyBusiness": f"https://my.binotel.ua/?module=cdrs&id={call}",
        **more,
    }
    form = {f"callDetails[{name}]": value for name, value in details.items()}
    return posted({"requestType": "apiCallCompleted", "attemptsCounter": str(attempt), **form})


def asks(way: str = "0", number: str = CUSTOMER) -> RawRequest:
    """API CALL SETTINGS: who rings?"""
    return posted(
        {
            "requestType": "apiCallSettings",
            "externalNumber": number,
            "pbxNumber": LINE,
            "companyID": COMPANY,
            "callType": way,
        }
    )


START = 1795160400  # 2026-11-20 07:40:00 UTC

CALLS = {
    "answered": [
        told("receivedTheCall", 829711662),
        told("receivedTheCall", 829711662, extension="901"),
        told("answeredTheCall", 829711662, extension="901"),
        hung_up(829711662, "ANSWER", 95),
        completed(829711662, "ANSWER", 95, start=START, wait=12),
        completed(829711662, "ANSWER", 95, start=START, wait=12, attempt=2),
    ],
    "missed": [
        told("receivedTheCall", 829711700, extension="901"),
        hung_up(829711700, "NOANSWER", 0),
        completed(829711700, "NOANSWER", 0, start=START + 600, wait=30),
    ],
    "transferred": [
        told("receivedTheCall", 829711800, extension="901"),
        told("answeredTheCall", 829711800, extension="901"),
        told("transferredTheCall", 829711800, extension="902"),
        told("answeredTheCall", 829711800, extension="902"),
        completed(829711800, "TRANSFER", 140, start=START + 1200, wait=8, extension="902"),
    ],
    "outbound": [
        told("receivedTheCall", 829711900, extension="901", way="1"),
        told("answeredTheCall", 829711900, extension="901", way="1"),
        hung_up(829711900, "ANSWER", 60),
        completed(829711900, "ANSWER", 60, start=START + 1800, wait=20, way="1"),
    ],
}

REQUESTS = [request for requests in CALLS.values() for request in requests]
