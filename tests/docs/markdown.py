"""The pages, taken apart: code blocks with their marks, inline code, headings, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    [
        *ROOT.glob("docs/*.md"),
        *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
    ]
)

_FENCE = re.compile(r"( *)```(\w*)$")
_MARK = re.compile(r"<!-- (not run|slow): (.+) -->")
_HEADING = re.compile(r"#+ (.+)")
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins at, and the comment right above it.

    `mark` is `not run` or `slow` with its reason, or empty.
    """

    language: str
    text: str
    line: int
    mark: str = ""

    @property
    def commands(self) -> list[str]:
        """The command lines of a shell block, continued lines joined, without comments."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [line.strip() for line in joined if shlex.split(line, comments=True)]


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path
    blocks: tuple[Block, ...]
    prose: str
    """The text without the fenced blocks."""

    @property
    def name(self) -> str:
        """Path in the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def inline_code(self) -> list[str]:
        """The texts between single backticks."""
        return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", self.prose)]

    @property
    def anchors(self) -> set[str]:
        """The anchors of the page, as GitHub derives them from headings."""
        headings = _HEADING.findall(self.prose)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

    @property
    def links(self) -> Iterator[str]:
        """The targets of links and pictures."""
        for target, attribute in _LINK.findall(re.sub(r"`[^`]+`", "", self.prose)):
            yield target or attribute


@cache
def read_page(path: Path) -> Page:
    """Takes a page apart. Raises ValueError for a block that is not closed, or a mark above no block."""
    blocks: list[Block] = []
    prose: list[str] = []
    inside: list[str] | None = None
    mark, language, indent, begun = "", "", "", 0
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if inside is not None:
            if line == f"{indent}```":
                blocks.append(Block(language, "\n".join(inside) + "\n", begun, mark))
                inside, mark = None, ""
            else:
                inside.append(line.removeprefix(indent))
        elif fence:
            inside, (indent, language), begun = [], fence.groups(), number
        elif found := _MARK.fullmatch(line):
            mark = found[1]
        elif mark and line.strip():
            raise ValueError(f"{path}:{number}: the mark {mark!r} must stand right above a code block")
        else:
            prose.append(line)
    if inside is not None:
        raise ValueError(f"{path}:{begun}: the code block is not closed")
    return Page(path, tuple(blocks), "\n".join(prose))


def pages() -> list[Page]:
    """All pages."""
    return [read_page(path) for path in PAGES]
