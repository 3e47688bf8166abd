"""ONNX, which ONNX Runtime executes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mnad.graphs.formats import Array, Format, Graph
from mnad.graphs.recording import Recorded, quietly

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram


class OnnxFormat(Format):
    """See the module."""

    modules = ("onnx", "onnxscript", "onnxruntime")
    extra = "onnxruntime"

    def save(self, graph: Recorded, stem: Path, metadata: Mapping[str, str]) -> None:
        """See :meth:`Format.save`."""
        found = _converted(graph)
        found.model.metadata_props.update(metadata)
        stem.with_suffix(".onnx").write_bytes(found.model_proto.SerializeToString())

    def open(self, stem: Path, threads: int) -> Graph:
        """See :meth:`Format.open`."""
        return _Session(stem.with_suffix(".onnx"), threads)

    def compile(self, graph: Recorded, threads: int) -> Graph:
        """See :meth:`Format.compile`."""
        return _Session(_converted(graph).model_proto.SerializeToString(), threads)


class _Session(Graph):
    def __init__(self, model: bytes | Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_inputs()]

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        found: list[Array] = self.session.run(None, dict(zip(self.names, inputs, strict=True)))
        return found


def _converted(graph: Recorded) -> ONNXProgram:
    with quietly():
        found = torch.onnx.export(
            graph.program,
            (),
            dynamo=True,
            verbose=False,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
        )
    assert found is not None
    return found
