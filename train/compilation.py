"""torch.compile of a model's passes in training and scoring, for batches of the usual sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..model import STGCMA
from ..model.noise import share_offsets
from .config import RunConfig
from .distributed import ProcessGroup


class CompiledPasses:
    """The passes of a model, compiled for batches of the usual sizes; others are computed without a compiler.

    Every size would be compiled anew, for a minute or more, and the last batch of an epoch is mostly smaller.

    Args:
        model: on its device.
        clips: the usual numbers of clips.
        options: of `torch.compile`.
        graphs: passes are replayed as CUDA graphs.

    Attributes:
        in_training: False while a batch in training is computed without the compiler, whatever its size.
    """

    in_training = True

    def __init__(
        self, model: STGCMA, clips: frozenset[int], *, options: dict[str, Any], graphs: bool
    ) -> None:
        self._model, self._clips, self._graphs = model, clips, graphs
        self._eager: Any = model._call_impl
        self._begin: Any = torch.compiler.cudagraph_mark_step_begin
        self._compiled = torch.compile(self._eager, dynamic=False, **options)

    def __call__(self, **inputs: Any) -> dict[str, Tensor]:
        """Return `model(**inputs)`."""
        if not self._is_usual(inputs):
            return self._eager(**inputs)  # type: ignore[no-any-return]
        if self._graphs:
            self._begin()  # the outputs of the last pass may be overwritten
        return self._compiled(**inputs)  # type: ignore[no-any-return]

    def _is_usual(self, inputs: dict[str, Any]) -> bool:
        allowed = self.in_training or not self._model.training
        return allowed and self.has_usual_size(inputs) and not inputs.get("explain")

    def has_usual_size(self, inputs: dict[str, Any]) -> bool:
        """Return True for inputs of which each has one of the usual numbers of clips, all the same."""
        sizes = {len(x) for x in inputs.values() if isinstance(x, Tensor)}
        return len(sizes) == 1 and sizes <= self._clips


def check_compile(config: RunConfig, device: torch.device) -> None:
    """Raise InputError where there is no C++ compiler, and for CUDA graphs where they cannot be used."""
    if config.train.compile != "off" and not _has_compiler():
        raise InputError(
            f"train.compile is {config.train.compile}, which needs a C++ compiler (CXX, or g++); install one "
            "or choose off"
        )
    if config.train.compile != "graphs":
        return
    if device.type != "cuda":
        raise InputError("train.compile is graphs, which needs a GPU; choose off or default")
    if config.train.accumulate > 1:
        # A replayed backward pass writes its gradients to the same memory, where they are being summed.
        raise InputError(
            f"train.compile is graphs, which takes no train.accumulate={config.train.accumulate}; "
            "choose off or default, or accumulate 1"
        )


def _has_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


def compile_model(model: STGCMA, config: RunConfig, group: ProcessGroup) -> CompiledPasses | None:
    """Compile the passes of `model` as `train.compile` says; None without.

    The names of its weights stay the same, and so do the draws of its noise: functions of seed and step.
    """
    if config.train.compile == "off":
        return None
    prepare_compiler()
    share_offsets(model, group.device)
    size, accumulate = config.optim.batch_size, config.train.accumulate
    clips = frozenset(-(-size // (group.size * parts)) for parts in (1, accumulate))
    graphs = config.train.compile == "graphs"
    passes = CompiledPasses(model, clips, options=compiler_options(graphs=graphs), graphs=graphs)
    model._compiled_call_impl = passes
    return passes


def prepare_compiler() -> None:
    """Set the compiler up for a model, and forget the passes of other models."""
    import torch._dynamo

    torch._dynamo.reset()  # what was compiled before counts towards a limit
    # Gradients are averaged by DistributedDataParallel's own hooks; else the passes would be cut into pieces.
    torch._dynamo.config.optimize_ddp = False
    torch._dynamo.config.allow_rnn = True  # the LSTM that reads AVQA's questions


def compiler_options(*, graphs: bool) -> dict[str, Any]:
    """Return the options of `torch.compile`."""
    # Noise is drawn by torch's generators, as without a compiler. CUDA graphs are the mode `reduce-overhead`.
    return {"options": {"fallback_random": True, "triton.cudagraphs": graphs}}
