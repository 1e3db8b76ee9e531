"""The Chromium that is installed, and its flags: those of the script that takes the pictures of pages."""

import importlib.util
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[2] / "docs" / "screenshots.py"
_spec = importlib.util.spec_from_file_location("screenshots", _SCRIPT)
_screenshots = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_screenshots)

CHROMIUM_FLAGS = _screenshots.FLAGS


def chromium_path() -> str:
    """The program's path; the test is skipped where there is none."""
    found = _screenshots.find_browser()
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(_screenshots.BROWSERS)} is on the PATH")
    return found
