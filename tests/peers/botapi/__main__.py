"""Serve the played Bot API: `python -m tests.peers.botapi --port 8081`. Drive it at /double/…, see `control.py`."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress

from tests.peers.botapi.double import BotApi


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.peers.botapi", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: a free one, which is printed")
    parser.add_argument("--bot", action="append", default=[], metavar="TOKEN=USERNAME", help="a bot to begin with")
    parser.add_argument("--https-only", action="store_true", help="take https webhooks only, as Telegram does")
    parser.add_argument("--flood-limits", action="store_true", help="refuse who sends more than Telegram allows")
    return parser.parse_args()


async def _serve(asked: argparse.Namespace) -> None:
    double = BotApi(allow_http=not asked.https_only, has_flood_limits=asked.flood_limits)
    for one in asked.bot:
        token, _, username = one.partition("=")
        double.add_bot(token, username or f"bot{token.partition(':')[0]}")
    async with double.running(asked.port):
        print(double.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(_arguments()))
