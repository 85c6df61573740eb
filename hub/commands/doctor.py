"""`switchyard doctor`: looks at everything an installation stands on and says what to do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator

from hub.commands import checkup
from hub.commands.checkup import Finding, Verdict
from hub.commands.failures import explained, is_about_the_database
from hub.commands.probing import asked
from hub.commands.workplace import CLOCK, base_url, say, show
from hub.settings import Settings

_SIGNS = {Verdict.OK: "ok  ", Verdict.WARN: "warn", Verdict.FAIL: "FAIL"}


async def examine(settings: Settings, options: argparse.Namespace) -> int:
    """Check everything, print a line for each, and return 1 if something is wrong."""
    findings: list[Finding] = []
    async for finding in _all(settings, (options.url or base_url(settings)).rstrip("/")):
        findings.append(finding)
        if not options.json:
            print(f"{_SIGNS[finding.verdict]}  {finding.name:16}{finding.text}", flush=True)
            if finding.remedy:
                print(f"{'':22}→ {finding.remedy}", flush=True)
    failed = [finding for finding in findings if finding.verdict is Verdict.FAIL]
    warned = [finding for finding in findings if finding.verdict is Verdict.WARN]
    if options.json:
        checks = [
            {"name": item.name, "status": item.verdict.value, "text": item.text, "remedy": item.remedy or None}
            for item in findings
        ]
        show({"ok": not failed, "checks": checks})
    else:
        print(f"\n{len(findings)} checks, {len(failed)} failed, {len(warned)} to look at")
    return 1 if failed else 0


async def _all(settings: Settings, base: str) -> AsyncIterator[Finding]:
    yield checkup.python(sys.version_info[:3])
    for finding in checkup.settings_given(settings, os.environ):
        yield finding
    yield checkup.state_folder(settings)
    yield checkup.secret_key(settings)
    yield checkup.disk(settings)
    yield checkup.assets()
    yield checkup.catalogues()
    yield await checkup.files(settings)
    yield await checkup.mail(settings)
    answer = await asked(f"{base}/readyz")
    for finding in checkup.server(answer, base, CLOCK.now()):
        yield finding
    try:
        async for finding in _database(settings):
            yield finding
    except Exception as error:
        if not is_about_the_database(error) and explained(error) is None:
            raise
        text = explained(error) or f"The database answers with an error: {error}"
        yield Finding("database", Verdict.FAIL, text.partition("\n")[0], "Mend that, then run this again")


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the database without changing it; an embedded one is started for as long as this takes."""
    from core.kernel.errors import HubError
    from hub import schema
    from hub.commands import checkup_database
    from hub.database import open_database
    from hub.serve import database_for

    if settings.database_url is None and not (settings.state_dir / "postgres").exists():
        yield Finding(
            "database",
            Verdict.WARN,
            "There is none yet",
            "The first `switchyard serve` or `switchyard migrate` makes it",
        )
        return
    schema.load()
    try:
        async with database_for(settings, say) as url, open_database(url, pool_size=2) as database:
            async for finding in checkup_database.examine(database, settings, CLOCK.now):
                yield finding
    except HubError as error:
        yield Finding("database", Verdict.FAIL, str(error))
