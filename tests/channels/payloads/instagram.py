from __future__ import annotations

from tests.channels.payloads.messenger import PICTURE, document, item
from tests.channels.payloads.whatsapp import APP_SECRET, signed

IS_SIGNED = True
ACCOUNT = "17841405822304914"
SETTINGS = {
    "app_secret": APP_SECRET,
    "verify_token": "verify-me-please",
    "access_token": "EAAG-token-of-the-page",
    "instagram_id": ACCOUNT,
}

DOCUMENTS = [
    document(item(page=ACCOUNT, message={"mid": "aWdf_1", "text": "Привет"}), about="instagram", page=ACCOUNT),
    document(
        item(page=ACCOUNT, message={"mid": "aWdf_2", "attachments": [PICTURE, {"type": "like_heart"}]}),
        item(page=ACCOUNT, message={"mid": "aWdf_1", "is_deleted": True}),
        item(page=ACCOUNT, read={"mid": "aWdf_out"}),
        about="instagram",
        page=ACCOUNT,
    ),
    document(
        item(page=ACCOUNT, reaction={"mid": "aWdf_out", "action": "react", "reaction": "love", "emoji": "❤"}),
        about="instagram",
        page=ACCOUNT,
    ),
]
REQUESTS = [signed(one) for one in DOCUMENTS]
