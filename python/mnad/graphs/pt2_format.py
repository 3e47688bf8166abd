"""PyTorch's own: torch.export.load reads it without this package, and AOTInductor compiles it for C++."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.export import ExportedProgram

from mnad.graphs.formats import Array, Format, Graph
from mnad.graphs.recording import Recorded, quietly


class Pt2Format(Format):
    """See the module."""

    def save(self, graph: Recorded, stem: Path, metadata: Mapping[str, str]) -> None:
        """See :meth:`Format.save`."""
        with quietly():
            torch.export.save(graph.program, stem.with_suffix(".pt2"), extra_files=dict(metadata))

    def open(self, stem: Path, threads: int) -> Graph:
        """See :meth:`Format.open`; PyTorch has its own number of threads."""
        with quietly():
            return _Program(torch.export.load(stem.with_suffix(".pt2")))

    def compile(self, graph: Recorded, threads: int) -> Graph:
        """See :meth:`Format.compile`; PyTorch has its own number of threads."""
        return _Program(graph.program)


class _Program(Graph):
    def __init__(self, program: ExportedProgram) -> None:
        self.module = program.module()

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        with torch.no_grad():
            found = self.module(*map(torch.from_numpy, inputs))
        return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]
