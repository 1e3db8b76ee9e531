"""Write the documentation's pictures of pages, light and dark, desktop and phone, with an installed Chromium.

    python docs/screenshots.py --page report=RUN/report.html --page inspect=inspect.html --out docs/images
    python docs/screenshots.py --site build/site --out /tmp/pictures

Of `--page NAME=FILE` the first screen is written as NAME.png and NAME-dark.png; with `--phone` also as
NAME-phone.png and NAME-phone-dark.png. `--site FOLDER` takes every page of the built site in all four ways.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DESKTOP, PHONE = (1280, 860), (390, 844)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)


def views(*, phone: bool) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Yield the suffix of the picture's name, the size of the window, and the colour scheme."""
    for suffix, size in (("", DESKTOP), *((("-phone", PHONE),) if phone else ())):
        yield suffix, size, "light"
        yield f"{suffix}-dark", size, "dark"


def take(browser: Any, page: Path, name: str, out: Path, *, phone: bool, whole: bool) -> None:
    """Write the pictures of one page.

    whole: the whole length of the page instead of the first screen.
    """
    for suffix, (width, height), scheme in views(phone=phone):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        try:
            tab = context.new_page()
            tab.goto(page.resolve().as_uri())
            tab.screenshot(path=str(out / f"{name}{suffix}.png"), full_page=whole)
        finally:
            context.close()


def main() -> None:
    """Take the pictures that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--site", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--phone", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the whole page, not its first screen")
    options = parser.parse_args()
    wanted = {name: Path(file) for name, _, file in (page.partition("=") for page in options.page)}
    if options.site:
        wanted |= {page.stem: page for page in sorted(options.site.glob("*.html"))}
    missing = [str(file) for file in wanted.values() if not file.is_file()]
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if missing or not wanted or program is None:
        reason = f"no such file: {', '.join(missing)}" if missing else "no pages are named"
        sys.exit(reason if program else f"no browser: none of {', '.join(_BROWSERS)} is on the PATH")

    from playwright.sync_api import sync_playwright

    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        for name, page in wanted.items():
            take(
                browser,
                page,
                name,
                options.out,
                phone=options.phone or bool(options.site),
                whole=options.whole,
            )
        browser.close()


if __name__ == "__main__":
    main()
