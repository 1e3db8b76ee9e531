"""ONNX files, which onnxruntime and many other programs run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from ..errors import InputError
from .base import FileFormat, Runner
from .description import Description, to_text

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# A protobuf holds less than 2 GiB; larger weights lie beside it.
_MOST_BYTES_INSIDE = 3 << 29
_KEY = "stgcma"


class Onnx(FileFormat):
    """ONNX by torch's exporter; the description is the entry `stgcma` of the model's metadata."""

    def check_installed(self) -> None:
        for name in _PACKAGES:
            if find_spec(name) is None:
                raise InputError(f"ONNX files need {name}; pip install 'stgcma[export]'")

    def write(self, program: ExportedProgram, path: Path, *, description: Description) -> None:
        with _quiet():
            converted: Any = torch.onnx.export(
                program,
                dynamo=True,
                output_names=list(description.outputs),
                verbose=False,
                external_data=False,
            )
        model = converted.model
        model.metadata_props[_KEY] = to_text(description)
        _tidy(model.graph, description)
        weights = (value.const_value for value in model.graph.initializers.values())
        converted.save(path, external_data=sum(each.nbytes for each in weights) > _MOST_BYTES_INSIDE)

    def beside(self, path: Path) -> tuple[Path, ...]:
        return (path.with_name(f"{path.name}.data"),)

    def open(self, path: Path, *, outputs: Sequence[str]) -> Runner:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def run(inputs: Any) -> dict[str, torch.Tensor]:
            arrays = session.run(list(outputs), {name: tensor.numpy() for name, tensor in inputs.items()})
            return dict(zip(outputs, map(torch.from_numpy, arrays), strict=True))

        return run


def _tidy(graph: Any, description: Description) -> None:
    """Give dimensions their names, and remove what the exporter stores of its work.

    That is stack traces, with the paths of this machine, and shapes in the graph, of which those of an LSTM
    are wrong; programs that run the graph infer them.
    """
    import onnx_ir

    for node in graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
            value.shape = None
    for values, told in ((graph.inputs, description.inputs), (graph.outputs, description.outputs)):
        for value in values:
            value.shape = onnx_ir.Shape(told[value.name].shape)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about operators and about its own parts off stderr."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # of the exporter's own copies of a tree specification
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


FORMAT = Onnx()
