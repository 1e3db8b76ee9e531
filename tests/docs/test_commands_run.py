"""Every command that the documentation shows is run, page by page, from top to bottom."""

import pytest

from .markdown import pages

# One process runs all pages, so that they share their shards (`made_shards`).
pytestmark = pytest.mark.xdist_group("pages of the documentation")


def runnable(*marks):
    """The names of pages with blocks of these marks, and the blocks."""
    shown = {
        page.name: [block for block in page.blocks if block.language in ("sh", "python")] for page in pages()
    }
    return {name: [b for b in blocks if b.mark in marks] for name, blocks in shown.items()}


QUICK = {name: blocks for name, blocks in runnable("").items() if blocks}
WHOLE = {name: blocks for name, blocks in runnable("", "slow").items() if any(b.mark for b in blocks)}


# Their commands are those of the README and of other tests, on other folders.
LONG = {"docs/training.md", "docs/own-data.md", "docs/own-folder.md"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in QUICK]
)
def test_the_blocks_of_a_page_run_in_order(name, run_block):
    for block in QUICK[name]:
        run_block(block)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", WHOLE)
def test_all_blocks_of_a_page_run_in_order(name, run_block):
    for block in WHOLE[name]:
        run_block(block)
