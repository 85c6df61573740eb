"""Writes the reference that the program itself can give: its command line and its OpenAPI document.

Usage: python tools/docs.py FOLDER. It asks the installed command and a server started for the purpose, as a user would.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

COMMAND = [sys.executable, "-m", "hub"]
PATIENCE = 60.0
"""Seconds the server has to answer."""


def help_of(*names: str) -> str:
    """Return what the command says about itself."""
    return subprocess.run([*COMMAND, *names, "--help"], capture_output=True, text=True, check=True).stdout


def reference(*names: str) -> list[str]:
    """Return a Markdown section for a command and for each below it."""
    text = help_of(*names)
    sections = [f"{'#' * min(len(names) + 1, 4)} switchyard {' '.join(names)}".rstrip() + f"\n\n```text\n{text}```\n"]
    commands = text.partition("\ncommands:\n")[2]
    for name in re.findall(r"^ {4}([a-z][a-z-]*)(?:\s|$)", commands, re.MULTILINE):
        sections += reference(*names, name)
    return sections


def openapi() -> object:
    """Return the document that a fresh server gives."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="switchyard-docs-") as folder:
        Path(folder).chmod(0o711)
        environment = {"PATH": "/usr/bin:/bin", "SWITCHYARD_STATE_DIR": f"{folder}/state"}
        server = subprocess.Popen([*COMMAND, "serve", "--port", str(port)], env=environment)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/openapi.json", timeout=10) as answer:
                        return json.load(answer)
                except urllib.error.HTTPError as refusal:
                    sys.exit(f"The server answers {refusal.code} when it is asked for its OpenAPI document.")
                except (urllib.error.URLError, ConnectionError):
                    if server.poll() is not None or time.monotonic() > deadline:
                        sys.exit("The server that was to give its OpenAPI document did not start; see above.")
                    time.sleep(0.1)
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    """Write both."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cli.md").write_text("\n".join(reference()), "utf-8")
    (folder / "openapi.json").write_text(json.dumps(openapi(), ensure_ascii=False, indent=2) + "\n", "utf-8")
    for name in ("cli.md", "openapi.json"):
        print(folder / name)


if __name__ == "__main__":
    main()
