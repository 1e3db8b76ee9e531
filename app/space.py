"""The page as a Space of the Hugging Face Hub: the files of a container that serves runs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from .. import __version__
from ..errors import InputError

PORT = 7860
_ANCESTOR = "https://huggingface.co"  # shows Spaces in a frame

_CARD = """\
---
title: {title}
sdk: docker
app_port: {port}
license: {license}
tags: [stgcma, audio-visual]
---

Predictions for uploaded videos, with a model that was trained with `stgcma`. Uploads are deleted after the
prediction, results when the page is closed, or after an hour.
"""
_DOCKERFILE = """\
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 user
USER user
WORKDIR /home/user/app
ENV PATH=/home/user/.local/bin:$PATH
COPY --chown=user . .
RUN pip install --user --no-cache-dir -r requirements.txt
CMD ["uvicorn", "app:app", "--host", "0.0.0.0", "--port", "{port}", "--ws", "none", "--no-access-log"]
"""
_APP = """\
from pathlib import Path

from stgcma.app import Access, AppLimits, build

HERE = Path(__file__).parent
examples = HERE / "examples"

app = build(
    [HERE / run for run in {runs}],
    examples=examples if examples.is_dir() else None,
    limits=AppLimits(upload_bytes=50 * 2**20, longest_seconds=60),
    access=Access(frame_ancestors=("{ancestor}",)),
)
"""


def space_files(
    runs: Sequence[str],
    *,
    title: str,
    requirement: str = f"stgcma[app]=={__version__}",
    license_: str = "unknown",
) -> dict[str, str]:
    """Return the content of each file of a Space by its name; the runs' folders are to be put beside them.

    A folder `examples` beside them is offered on the page. The container serves everybody who can open the
    Space.

    Args:
        runs: the names of the folders.
        title: of the Space.
        requirement: for pip, such as the file of a wheel.
        license_: the Hub's name of the licence of the runs.

    Raises InputError when there is no run.
    """
    if not runs:
        raise InputError("runs are missing: name at least one folder")
    return {
        "README.md": _CARD.format(title=json.dumps(title, ensure_ascii=False), port=PORT, license=license_),
        "Dockerfile": _DOCKERFILE.format(port=PORT),
        "requirements.txt": f"{requirement}\n",
        "app.py": _APP.format(runs=list(runs), ancestor=_ANCESTOR),
    }
