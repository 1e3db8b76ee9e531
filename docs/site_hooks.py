"""Hooks of MkDocs: pages from outside of `docs/`, the notebook as a page, links as the site needs them.

The Markdown files are written to be read in the repository. The site has the same files under these names:
the repository's README is its first page, and the README of `docs/` its table of contents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
# File of the repository to its page of the site.
PAGES = {
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "docs/tutorial.ipynb": "tutorial.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(\]\(|(?:src|href)=\")([^)\s\"#]+)")
_COMMENT = re.compile(r"^ *<!-- .*? -->\n", re.MULTILINE)
_MOST_LINES = 40  # of an output of the notebook


def on_config(config: Any) -> Any:
    """Add the pages that the navigation does not name to its last section."""
    named = set(_named(config["nav"]))
    missing = sorted(path.name for path in FOLDER.glob("*.md") if path.name not in {"README.md", *named})
    if missing:
        config["nav"].append({"Further pages": missing})
    return config


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for entry in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _named(entry)


def on_files(files: Files, config: Any) -> Files:
    """Replace `docs/README.md` and the notebook by pages, and add the pages of the repository's root."""
    for name, page in PAGES.items():
        given = files.get_file_from_path(name.removeprefix("docs/")) if name.startswith("docs/") else None
        if given is not None:
            files.remove(given)
        path = ROOT / name
        text = as_markdown(path.read_text("utf-8")) if path.suffix == ".ipynb" else path.read_text("utf-8")
        files.append(File.generated(config, page, content=for_site(text, name.rpartition("/")[0])))
    for file in files:
        if file.is_documentation_page() and file.src_uri not in PAGES.values():
            file.content_string = for_site(file.content_string, "docs")
    return files


def for_site(text: str, folder: str) -> str:
    """Return a page of `folder` of the repository with the links of the site and without comments.

    An escaped `<`, which Python-Markdown does not know, becomes an entity.
    """

    def link(found: re.Match[str]) -> str:
        before, target = found.groups()
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = (ROOT / folder / target).resolve()
        if not path.is_relative_to(ROOT):
            return found[0]
        name = path.relative_to(ROOT).as_posix()
        return before + PAGES.get(name, name.removeprefix("docs/"))

    return _LINK.sub(link, _COMMENT.sub("", text)).replace("\\<", "&lt;")


def as_markdown(notebook: str) -> str:
    """Return a notebook as Markdown: text, code, and what the code printed and drew."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += filter(None, (_output(output) for output in cell["outputs"]))
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        encoded = "".join(data["image/png"]).replace("\n", "")
        return f'<img alt="what the code above shows" src="data:image/png;base64,{encoded}">'
    text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
    lines = text.splitlines()
    kept = lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES], "…"]
    return "```text\n" + "\n".join(kept) + "\n```" if text else ""
