"""Write the documentation's pictures of pages, light and dark, desktop and phone, with an installed Chromium.

    python docs/screenshots.py --page report=RUN/report.html#training --page inspect=inspect.html --out OUT
    python docs/screenshots.py --site build/site --out OUT
    python docs/screenshots.py --served serve=http://127.0.0.1:7860/ --out OUT

Of `--page NAME=FILE` the first screen (of `FILE#ANCHOR` the one at that place) is written as NAME.png and
NAME-dark.png; with `--phone` also as NAME-phone.png and NAME-phone-dark.png. `--site FOLDER` takes every page
of the built site in all four ways. `--served NAME=ADDRESS` takes the page of a running `stgcma serve` that
offers examples, with the prediction of the first one.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

DESKTOP, PHONE = (1280, 860), (390, 844)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (  # with which the browser loads nothing of its own accord
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_JUMP = "name => document.getElementById(name).scrollIntoView({behavior: 'instant'})"
_PAINTING_MILLISECONDS = 1000
_PREDICTION_MILLISECONDS = 300_000
_SEEK = "document.querySelectorAll('video').forEach(one => { one.currentTime = one.duration / 10; })"


def find_browser() -> str | None:
    """Return the path of the installed browser; None where there is none of `BROWSERS`."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def views(*, phone: bool) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Yield the suffix of the picture's name, the size of the window, and the colour scheme."""
    for suffix, size in (("", DESKTOP), *((("-phone", PHONE),) if phone else ())):
        yield suffix, size, "light"
        yield f"{suffix}-dark", size, "dark"


def predict_first_example(tab: Any) -> None:
    """Let the page of `stgcma serve` predict its first example, and go to a tenth of a video result."""
    tab.locator("[data-example]").first.click()
    tab.locator("#predict").click()
    tab.locator(".result").wait_for(timeout=_PREDICTION_MILLISECONDS)
    tab.evaluate(_SEEK)
    tab.evaluate("window.scrollTo({top: 0, behavior: 'instant'})")
    tab.wait_for_timeout(2 * _PAINTING_MILLISECONDS)


def take(
    browser: Any,
    page: str,
    name: str,
    out: Path,
    *,
    phone: bool,
    whole: bool,
    prepare: Callable[[Any], None] | None = None,
) -> None:
    """Write the pictures of the page at the URL `page`, with few colours.

    whole: the whole length of the page instead of one screen. prepare: is given the opened tab.
    """
    for suffix, (width, height), scheme in views(phone=phone):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        try:
            tab = context.new_page()
            tab.goto(page)
            if prepare is not None:
                prepare(tab)
            if "#" in page:  # browsers glide there
                tab.evaluate(_JUMP, page.partition("#")[2])
                tab.wait_for_timeout(_PAINTING_MILLISECONDS)
            with Image.open(io.BytesIO(tab.screenshot(full_page=whole))) as picture:
                few = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
            few.save(out / f"{name}{suffix}.png", optimize=True)
        finally:
            context.close()


def main() -> None:
    """Take the pictures that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--served", action="append", default=[], metavar="NAME=ADDRESS")
    parser.add_argument("--site", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--phone", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the whole page, not its first screen")
    options = parser.parse_args()
    wanted = {name: file for name, _, file in (page.partition("=") for page in options.page)}
    if options.site:
        wanted |= {page.stem: str(page) for page in sorted(options.site.glob("*.html"))}
    missing = [file for file in wanted.values() if not Path(file.partition("#")[0]).is_file()]
    program = find_browser()
    served = dict(page.split("=", 1) for page in options.served)
    if missing or not (wanted or served) or program is None:
        reason = f"no such file: {', '.join(missing)}" if missing else "no pages are named"
        sys.exit(reason if program else f"no browser: none of {', '.join(BROWSERS)} is on the PATH")

    from playwright.sync_api import sync_playwright

    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for name, address in served.items():
            how = {"phone": options.phone, "whole": options.whole, "prepare": predict_first_example}
            take(browser, address, name, options.out, **how)
        for name, file in wanted.items():
            path, mark, anchor = file.partition("#")
            page = Path(path).resolve().as_uri() + mark + anchor
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
