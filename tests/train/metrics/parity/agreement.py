"""Comparison of numbers with those of a parity file, to the tolerances that the file states in `about`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Tolerance:
    """A number may be off by the larger of `relative · |expected|` and `absolute`."""

    relative: float = 0.0
    absolute: float = 0.0


SHARE = Tolerance(absolute=2e-6)
PERCENT = Tolerance(absolute=1e-5)
SINGLE = Tolerance(relative=1e-4)
DOUBLE = Tolerance(relative=1e-6)
NETWORK = Tolerance(relative=2e-4)
MMIL_DOUBLE = Tolerance(relative=1e-6, absolute=3e-7)
# Gradients that are zero by symmetry.
ZERO = Tolerance(absolute=1e-6)
# Sums over drawn arrays; a logarithm may differ in its last bit from machine to machine.
SUM = Tolerance(relative=1e-9, absolute=1e-6)
EXACT = Tolerance()


def agree(found, expected, tolerance, where=""):
    """Assert that nested dictionaries, sequences and numbers agree; None and NaN only with themselves."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), where
        for name, value in expected.items():
            agree(found[name], value, tolerance, f"{where}/{name}")
    elif isinstance(expected, list | tuple):
        found = found.tolist() if isinstance(found, np.ndarray | torch.Tensor) else found
        assert len(found) == len(expected), where
        for index, (mine, value) in enumerate(zip(found, expected, strict=True)):
            agree(mine, value, tolerance, f"{where}[{index}]")
    elif expected is None or found is None:
        assert found is expected, f"{where}: {found}, expected {expected}"
    else:
        number = float(found.detach() if isinstance(found, torch.Tensor) else found)
        wanted = float(expected)
        allowed = max(tolerance.relative * abs(wanted), tolerance.absolute)
        same = number == wanted or (np.isnan(number) and np.isnan(wanted)) or abs(number - wanted) <= allowed
        assert same, f"{where}: {number}, expected {wanted} ± {allowed}"


def check_inputs(arrays, expected):
    """Assert that every array of `inputs_check` was drawn: shape, sum and first three values."""
    assert expected, "inputs_check names no array"
    for name, facts in expected.items():
        lists = (arrays[name], facts) if isinstance(facts, list) else ([arrays[name]], [facts])
        for array, fact in zip(*lists, strict=True):
            values = np.asarray(array).astype(np.float64)
            agree(list(values.shape), fact["shape"], EXACT, f"{name} shape")
            agree(values.sum(), fact["sum"], SUM, f"{name} sum")
            agree(values.ravel()[:3], fact["first3"], Tolerance(relative=1e-8), f"{name} first3")
