"""The page in a real Chromium, with runs without a model: widths, schemes, keyboard, screen reader."""

from __future__ import annotations

import socket
import threading

import pytest
from stgcma.errors import StgcmaError

from ..pages.browser import LOW_CONTRAST, OUTLINE, OVERFLOW
from ..pages.chromium import CHROMIUM_FLAGS, chromium_path
from .stubs import TITLE, StubRun

pytest.importorskip("playwright", reason="playwright is not installed; it comes with the extra `dev`")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("page of stgcma serve")]
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
MOST_BYTES = 4 << 20
WIDTHS = {"desktop": 1280, "phone": 360}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = chromium_path()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*CHROMIUM_FLAGS, *CAMERA])
        yield chromium
        chromium.close()


@pytest.fixture
def runs():
    return [StubRun(), StubRun("run-video"), StubRun("run-asks", "avqa", "avqa-demo", ("is", "there"))]


@pytest.fixture
def address(runs, tmp_path):
    """The address of a server with `runs`."""
    import uvicorn
    from stgcma.app.access import Access
    from stgcma.app.examples import Example
    from stgcma.app.limits import AppLimits
    from stgcma.app.web import application

    (tmp_path / "bell.mp4").write_bytes(b"no video, which the stub does not mind")
    ready = threading.Event()
    app = application(
        runs,
        examples=[Example(tmp_path / "bell.mp4", "Is there a bell?")],
        limits=AppLimits(upload_bytes=MOST_BYTES),
        access=Access(loopback_only=True),
        on_start=ready.set,
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        assert ready.wait(120)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        for run in runs:
            run.go.set()
        thread.join()


@pytest.fixture
def open_page(browser, address):
    """`open_page(**options)` shows the page; it may complain of nothing and load from its own server only."""
    contexts, complaints, requests = [], [], []

    def show(*, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        return page

    yield show
    for context in contexts:
        context.close()
    assert [text for text in complaints if "status of" not in text] == []  # Chromium notes refused requests
    assert requests
    assert [url for url in requests if not url.startswith((address, f"blob:{address}", "data:"))] == []


def give(page, name="clip.mp4", content=b"video"):
    page.get_by_label("Choose a file").set_input_files(
        {"name": name, "mimeType": "video/mp4", "buffer": content}
    )


def predict(page):
    page.get_by_role("button", name="Predict").click()


def headline(page):
    from playwright.sync_api import expect

    expect(page.locator(".result .headline").first).to_be_visible(timeout=30_000)
    return page.locator(".result .headline").first.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_before_and_after_a_prediction_it_can_be_read_and_used(open_page, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(width=width, scheme=scheme)
    for label in ("run-video", "run-asks"):
        page.get_by_label(label).check()
    page.get_by_role("textbox", name="Question").fill("Is there a bell?")
    page.locator("details").evaluate("(one) => { one.open = true; }")
    for step in ("before", "after"):
        if step == "after":
            give(page, "silent.mp4")
            predict(page)
            assert headline(page) == "bell 0:02–0:05"
            page.locator(".result").nth(2).wait_for()
        assert page.evaluate(OVERFLOW) == 0, step
        contrast = page.evaluate(LOW_CONTRAST)
        assert contrast["found"] == [], step
        assert contrast["seen"] > 15
        faults = Axe().run(page).response["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in faults] == [], step
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.get_by_text("no audio stream: silence was put in its place").count() == 3
    assert page.locator(".headline").all_inner_texts() == ["bell 0:02–0:05"] * 2 + ["yes (72 %)"]


def test_a_keyboard_is_enough(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the results"
    assert page.locator(":focus").bounding_box()["y"] >= 0
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.locator(":focus").evaluate("(one) => one.id || one.value || one.textContent"))
        assert page.evaluate(OUTLINE) >= 2
        if reached[-1] == "bell.mp4":
            page.keyboard.press("Enter")
        if reached[-1] == "predict":
            break
    assert [*reached[:3], reached[-1]] == ["file", "record", "bell.mp4", "predict"]
    page.keyboard.press("Enter")
    assert headline(page) == "bell 0:02–0:05"
    assert page.evaluate("() => document.activeElement.id") == "results"


def test_a_screen_reader_is_told_what_happens(open_page, runs):
    page = open_page()
    give(page, "clip.mp4")
    assert page.get_by_role("status").inner_text() == "Chosen: clip.mp4"
    runs[0].held = True
    predict(page)
    page.get_by_role("status").get_by_text("Predicting").wait_for()
    assert page.get_by_role("progressbar", name="Progress").get_attribute("value") == "0.5"
    assert page.locator("#empty").inner_text() == "The result will appear here."
    runs[0].go.set()
    page.get_by_role("status").get_by_text("Done. run-av: bell 0:02–0:05").wait_for()
    tree = page.locator("main").aria_snapshot()
    assert 'article "run-av"' in tree
    assert f'img "{TITLE}. bell 0:02–0:05. The table below has the details."' in tree
    assert 'row "0:02 0:05 bell"' in tree
    assert page.locator("#player track").get_attribute("label") == "run-av: Events"


def test_a_broken_file_and_a_fault_of_the_server_are_explained(open_page, runs):
    page = open_page()
    give(page, "broken.mp4")
    predict(page)
    page.get_by_text("This video cannot be used: it cannot be opened", exact=True).wait_for()
    page.get_by_role("status").get_by_text("No result. run-av: This video cannot be used").wait_for()
    assert page.get_by_role("button", name="Predict").is_enabled()
    give(page, "whole.mp4")
    predict(page)
    assert headline(page) == "bell 0:02–0:05"
    assert page.get_by_text("cannot be used").count() == 0
    runs[0].error = StgcmaError("no space left")
    predict(page)
    page.get_by_text("The server could not predict it: no space left", exact=True).wait_for()


def test_large_and_empty_files_are_not_sent(open_page, runs):
    page = open_page()
    give(page, "long.mp4", b"x" * (MOST_BYTES + 1))
    assert page.get_by_role("alert").inner_text().startswith("long.mp4 is larger than the 4 MiB allowed")
    give(page, "none.mp4", b"")
    assert page.get_by_role("alert").inner_text() == "none.mp4 is empty."
    predict(page)
    assert page.get_by_role("alert").inner_text() == "Choose a video first."
    assert page.evaluate("() => document.activeElement.id") == "file"
    assert runs[0].seen == []


def test_a_question_is_asked_where_a_run_takes_one(open_page, runs):
    page = open_page()
    give(page)
    box = page.get_by_role("textbox", name="Question")
    assert not box.is_visible()
    page.get_by_label("run-av").uncheck()
    predict(page)
    assert page.get_by_role("alert").inner_text() == "Choose at least one run."
    page.get_by_label("run-asks").check()
    predict(page)
    page.get_by_role("alert").get_by_text("run-asks answers questions: enter one").wait_for()
    box.fill("Is there a bell?")
    box.press("Enter")
    assert headline(page) == "yes (72 %)"
    assert runs[2].seen[0][2] == "Is there a bell?"


def test_two_people_wait_for_each_other_and_see_their_own(open_page, runs):
    runs[0].held = True
    first, second = open_page(), open_page(width=360)
    give(first, "first.mp4")
    predict(first)
    assert runs[0].started.wait(120)
    give(second, "second.mp4")
    predict(second)
    second.locator("#step").get_by_text("Waiting: 1 video is before yours.").wait_for()
    runs[0].go.set()
    assert [headline(first), headline(second)] == ["bell 0:02–0:05"] * 2
    archives = [page.get_by_role("link", name="All result files (ZIP)") for page in (first, second)]
    links = [link.get_attribute("href") for link in archives]
    assert links[0] != links[1]
    assert [name for name, *_ in runs[0].seen] == ["first.mp4", "second.mp4"]


def test_a_prediction_is_cancelled(open_page, runs):
    runs[0].held = True
    page = open_page()
    give(page)
    predict(page)
    assert runs[0].started.wait(120)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("status").get_by_text("Cancelled.").wait_for()
    assert not page.get_by_role("button", name="Cancel").is_visible()
    assert page.evaluate("() => document.activeElement.id") == "predict"
    runs[0].held = False
    predict(page)
    assert headline(page) == "bell 0:02–0:05"


def test_a_closed_page_frees_the_queue(open_page, runs):
    runs[0].held = True
    page = open_page()
    give(page)
    predict(page)
    assert runs[0].started.wait(120)
    page.goto("about:blank")
    other = open_page()
    give(other)
    runs[0].held = False
    predict(other)
    assert headline(other) == "bell 0:02–0:05"


def test_a_recording_is_predicted(open_page, runs):
    page = open_page()
    page.get_by_role("button", name="Record a video").click()
    page.get_by_role("button", name="Stop recording").wait_for()
    assert page.get_by_role("button", name="Predict").is_disabled()
    page.get_by_role("button", name="Stop recording (1 s)").click()
    page.locator("#chosen").get_by_text("recording.").wait_for()
    predict(page)
    assert headline(page) == "bell 0:02–0:05"
    ((name, content, _),) = runs[0].seen
    assert (name, content[:4]) == ("recording.webm", b"\x1aE\xdf\xa3") or name == "recording.mp4"
    assert len(content) > 1000


def test_a_file_is_dropped(open_page, runs):
    page = open_page()
    page.locator("#drop").evaluate(
        """(area) => {
          const data = new DataTransfer();
          data.items.add(new File(["video"], "dropped.mp4", { type: "video/mp4" }));
          for (const name of ["dragenter", "dragover", "drop"]) {
            area.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }"""
    )
    assert page.locator("#chosen").inner_text() == "dropped.mp4"
    predict(page)
    assert headline(page) == "bell 0:02–0:05"
    assert runs[0].seen[0][:2] == ("dropped.mp4", b"video")
