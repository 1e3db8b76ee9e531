"""The pages in a real Chromium: readable light and dark, on a phone, by keyboard, by a screen reader."""

import shutil

import pytest

from .browser import LOW_CONTRAST, OUTLINE, OVERFLOW
from .chromium import CHROMIUM_FLAGS, chromium_path
from .comparisons import made_comparison

pytest.importorskip("playwright", reason="playwright is not installed; it comes with the extra `dev`")
SHORT = ["report-ave", "several", "inspect", "comparison"]
LONG = ["report-avs", "report-avqa", "inspect-avs", "inspect-avqa"]
PAGES = [*SHORT, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    found = chromium_path()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page_file(request, run_of, troubled_shards, tmp_path_factory):
    """`page_file(name)` is a page, made when asked for and then kept."""
    from stgcma.pages.comparison import write_comparison
    from stgcma.pages.report import write_report
    from stgcma.pages.samples import write_samples

    folder = tmp_path_factory.mktemp("pages")

    def make(name):
        file = folder / f"{name}.html"
        kind, _, task = name.partition("-")
        if file.exists():
            return file
        if kind == "comparison":
            return write_comparison(made_comparison(), file)
        if kind == "inspect":
            shards = request.getfixturevalue(f"{task}_shards") if task else troubled_shards
            return write_samples(shards, page=file)
        runs = [run_of(task)] if task else [run_of("ave"), shutil.copytree(run_of("ave"), folder / "other")]
        return write_report(runs, page=file)

    return make


@pytest.fixture
def open_page(browser, page_file):
    """`open_page(name, **options)` shows a page; nothing may be loaded or complained about meanwhile."""
    contexts, complaints, requests, files = [], [], [], set()

    def show(name, *, width=1280, scheme="light", scripts=True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        files.add(page_file(name).as_uri())
        page.goto(page_file(name).as_uri())
        return page

    yield show
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith("data:")} == files


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out(open_page, name, scheme):
    page = open_page(name, scheme=scheme)
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    contrast = page.evaluate(LOW_CONTRAST)
    assert contrast["found"] == []
    assert contrast["seen"] > 50
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_it_without_sideways_scrolling(open_page, name):
    page = open_page(name, width=360)
    assert page.evaluate(OVERFLOW) == 0


@pytest.mark.parametrize("name", PAGES)
def test_the_rules_of_accessibility_are_kept(open_page, name):
    from axe_playwright_python.sync_playwright import Axe

    result = Axe().run(open_page(name)).response
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in result["violations"]] == []
    passed = {rule["id"] for rule in result["passes"]}
    assert {"landmark-one-main", "page-has-heading-one", "skip-link", "region"} <= passed
    assert {"image-alt", "svg-img-alt"} & passed


@pytest.mark.parametrize("name", ["report-ave", "inspect"])
def test_the_keyboard_reaches_the_content_and_shows_where_it_is(open_page, name):
    page = open_page(name)
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the content"
    assert skip.bounding_box()["y"] >= 0
    assert page.evaluate(OUTLINE) >= 2
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"


def test_one_epoch_is_a_dot_that_can_be_seen(open_page):
    dots = open_page("report-ave").locator("svg circle")
    assert dots.count() == 3  # loss; train and val score
    for number in range(dots.count()):
        box = dots.nth(number).bounding_box()
        assert box["width"] > 4
        frame = dots.nth(number).locator("xpath=ancestor::*[local-name()='svg']").bounding_box()
        assert frame["x"] < box["x"] < frame["x"] + frame["width"]
        assert frame["y"] < box["y"] < frame["y"] + frame["height"]


def test_the_filters_work_by_keyboard(open_page):
    page = open_page("inspect")
    shown = page.locator("#shown")
    visible = page.locator("article.clip:visible")
    assert shown.inner_text() == "11 of 11 clips"

    def choose(label, place):
        page.get_by_label(label, exact=True).focus()
        for key in ("Home", *["ArrowDown"] * place):
            page.keyboard.press(key)
        assert shown.inner_text() == f"{visible.count()} of 11 clips"
        return visible.count()

    assert [choose("split", place) for place in range(4)] == [11, 7, 1, 3]
    choose("split", 0)
    assert choose("warning", 1) == 1
    assert visible.locator(".note").inner_text().startswith("no audio stream")
    assert choose("warning", 2) == 10
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Show all"
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('shown').value === '11 of 11 clips'")
    key = page.locator("article.clip h3").last.inner_text()
    page.get_by_label("key or source contains", exact=True).focus()
    page.keyboard.type(key)
    assert shown.inner_text() == "1 of 11 clips"
    assert visible.locator("h3").inner_text() == key


def test_the_class_filter_shows_the_clips_that_have_it(open_page):
    page = open_page("inspect")
    control = page.get_by_label("class", exact=True)
    name = control.locator("option").last.inner_text()
    having = page.locator("article.clip").filter(has_text=name).count()
    control.select_option(name)
    assert 0 < page.locator("article.clip:visible").count() == having < 11


def test_without_scripts_all_clips_are_shown_and_no_filters(open_page):
    page = open_page("inspect", scripts=False)
    assert page.locator("article.clip:visible").count() == 11
    assert not page.locator("form.filter").is_visible()
