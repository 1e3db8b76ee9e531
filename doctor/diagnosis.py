"""All checks, in order, by area."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..errors import StgcmaError
from .decoding import check_decoding
from .findings import Finding, Level
from .gpu import check_gpu
from .machine import check_cores, check_disk, check_memory, check_shared_memory
from .packages import check_extras, check_itself, check_loading, check_pins, check_python
from .tools import check_encoding, check_ffmpeg
from .weights import check_weights

Check = Callable[[], Iterator[Finding]]

CHECKS: Mapping[str, Sequence[Check]] = {
    "packages": (check_python, check_itself, check_pins, check_loading),
    "optional packages": (check_extras,),
    "ffmpeg": (check_ffmpeg, check_encoding),
    "decoding built-in clips": (check_decoding,),
    "GPU": (check_gpu,),
    "machine": (check_memory, check_disk, check_shared_memory, check_cores),
    "published weights": (check_weights,),
}


def diagnose(checks: Mapping[str, Sequence[Check]] = CHECKS) -> Iterator[tuple[str, Finding]]:
    """Run all checks and yield (area, finding). A check that fails to run is reported as a problem."""
    for area, of_area in checks.items():
        for check in of_area:
            try:
                for finding in check():
                    yield area, finding
            except (ImportError, OSError, StgcmaError) as error:
                said = " ".join(str(error).split())
                name = check.__name__.removeprefix("check_")
                remedy = "repair it, then run stgcma doctor again"
                yield area, Finding(name, Level.PROBLEM, f"could not be checked ({said})", remedy)
