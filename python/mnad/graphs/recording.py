"""From a module to the graph of what it computes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

LARGEST_BATCH = 4096
EXAMPLES = 2  # windows that are recorded with; with one the exporter takes the batch for fixed


@dataclass(frozen=True)
class Recorded:
    """A graph before it has a format.

    Attributes:
        program: PyTorch's own form of it.
        inputs: The names of the inputs, each with its shape; the first size, that of the batch, is None.
        outputs: The names of the outputs.
    """

    program: ExportedProgram
    inputs: dict[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]


def record(module: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> Recorded:
    """Records what a module computes in evaluation mode.

    Args:
        module: Its forward takes tensors one by one, and returns one or a tuple of them.
        inputs: An example of each by its name, of a batch of at least two. All have the batch first, and it alone is
            left open.
        outputs: Names of what it returns.

    Example:
        >>> linear = record(nn.Linear(3, 2), {"x": torch.zeros(2, 3)}, ("y",))
        >>> linear.program.module()(torch.zeros(5, 3)).shape, linear.inputs
        (torch.Size([5, 2]), {'x': (None, 3)})
    """
    batch = Dim("batch", min=1, max=LARGEST_BATCH)
    examples = tuple(inputs.values())
    with torch.no_grad(), quietly():
        program = torch.export.export(module.eval(), examples, dynamic_shapes=tuple({0: batch} for _ in examples))
    return Recorded(program, {name: (None, *example.shape[1:]) for name, example in inputs.items()}, outputs)


@contextmanager
def quietly() -> Iterator[None]:
    """Hides what PyTorch's exporters say of themselves, which is nothing that a user could mend."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", message="No complete tensor found in the group")
            yield
    finally:
        log.setLevel(level)
