"""Every command that the documentation shows is run, page by page, from top to bottom."""

import pytest

from .markdown import pages

SHOWN = {
    page.name: page.blocks for page in pages() if any(b.language in ("sh", "python") for b in page.blocks)
}
WITH_SLOW = [name for name, blocks in SHOWN.items() if any(block.mark == "slow" for block in blocks)]


def runnable(name, *marks):
    return [b for b in SHOWN[name] if b.language in ("sh", "python") and b.mark in marks]


@pytest.mark.parametrize("name", SHOWN)
def test_the_blocks_of_a_page_run_in_order(name, run_block):
    for block in runnable(name, ""):
        run_block(block)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", WITH_SLOW)
def test_the_slow_blocks_of_a_page_run_in_order(name, run_block):
    for block in runnable(name, "", "slow"):
        run_block(block)
