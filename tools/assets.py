"""Copies what the browser needs from node_modules to hub/web/static/vendor.

Run by `make setup` with any Python 3.11; only the standard library is used.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "hub" / "web" / "static" / "vendor"

FILES = (
    "htmx.org/dist/htmx.min.js",
    "htmx.org/dist/ext/hx-sse.min.js",
    "sortablejs/Sortable.min.js",
    "@fontsource-variable/inter/files/inter-cyrillic-ext-wght-normal.woff2",
    "@fontsource-variable/inter/files/inter-cyrillic-wght-normal.woff2",
    "@fontsource-variable/inter/files/inter-latin-ext-wght-normal.woff2",
    "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "@fontsource/noto-sans-armenian/files/noto-sans-armenian-armenian-400-normal.woff2",
    "@fontsource/noto-sans-armenian/files/noto-sans-armenian-armenian-600-normal.woff2",
    "swagger-ui-dist/swagger-ui.css",
    "swagger-ui-dist/swagger-ui-bundle.js",
)

ICONS = "lucide-static/icons"
QUOTED = re.compile(r"""["']([a-z][a-z0-9]*(?:-[a-z0-9]+)*)["']""")
DRAWING = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def quoted_words() -> set[str]:
    """Return every word between quotes in the hub's pages: whatever names an icon is among them."""
    sources = [path for suffix in ("html", "py", "js") for path in (ROOT / "hub").rglob(f"*.{suffix}")]
    return {word for path in sources if VENDOR not in path.parents for word in QUOTED.findall(path.read_text("utf-8"))}


def sprite() -> str:
    """Return one SVG with a symbol for each icon in use: `<use href="…/icons.svg#phone">`.

    Colours and strokes are left to the style sheet; an icon without them is drawn as Lucide draws it.
    """
    symbols = []
    for word in sorted(quoted_words()):
        icon = MODULES / ICONS / f"{word}.svg"
        if icon.exists():
            drawing = DRAWING.search(icon.read_text("utf-8"))
            assert drawing is not None, icon
            inside = re.sub(r">\s+<", "><", drawing[1].strip())
            symbols.append(
                f'<symbol id="{word}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
                f'stroke-linecap="round" stroke-linejoin="round">{inside}</symbol>'
            )
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


def licences() -> str:
    """Return the licences of what is copied, which have to go with it."""
    packages = sorted({"/".join(name.split("/")[: 2 if name.startswith("@") else 1]) for name in (*FILES, ICONS)})
    texts = []
    for package in packages:
        for name in ("LICENSE", "NOTICE"):
            path = MODULES / package / name
            if path.exists():
                texts.append(f"{package}: {name}\n\n{path.read_text('utf-8').strip()}\n")
    return ("\n" + "-" * 100 + "\n\n").join(texts)


def main() -> None:
    """Fill the folder anew; it is replaced in one step, so that a running hub never serves half of it."""
    missing = [name for name in FILES if not (MODULES / name).is_file()]
    if missing:
        sys.exit(f"node_modules lacks {', '.join(missing)}: run `npm ci`, or correct FILES in tools/assets.py")
    draft = VENDOR.with_name(".vendor.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(MODULES / name, draft / Path(name).name)
    (draft / "icons.svg").write_text(sprite(), "utf-8")
    (draft / "LICENSES.txt").write_text(licences(), "utf-8")
    shutil.rmtree(VENDOR, ignore_errors=True)
    draft.rename(VENDOR)


if __name__ == "__main__":
    main()
