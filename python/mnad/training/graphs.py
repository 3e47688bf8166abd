"""A training step as one CUDA graph: hundreds of kernels, launched at once.

At the published batch size of 4 a GPU of today is done with a kernel before the host has launched the next one. A graph
holds all of forward pass, backward pass, optimizer and update of the items, on tensors that stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

# Eager steps before the recording: they make the optimizer's state, and compile what is to be compiled.
WARM_UP_STEPS = 3
Results = TypeVar("Results")


class Recorder(Protocol[Results]):
    """What runs work, and records it once for replays on the same tensors."""

    def run(self, work: Callable[[], Results]) -> Results:
        """Runs work as it is."""

    def record(self, work: Callable[[], Results]) -> Results:
        """Records work without running it; gives the tensors where every replay leaves its results."""

    def replay(self) -> None:
        """Runs what was recorded."""


class CudaRecorder(Generic[Results]):
    """Records a CUDA graph on a stream of its own, where the steps before it run as well."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        self.graph = torch.cuda.CUDAGraph()

    def run(self, work: Callable[[], Results]) -> Results:
        """Runs work on the recorder's stream."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            results = work()
        torch.cuda.current_stream().wait_stream(self.stream)
        return results

    def record(self, work: Callable[[], Results]) -> Results:
        """Captures work; a thread that reads ahead may go on meanwhile."""
        with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
            return work()

    def replay(self) -> None:
        """Launches the graph."""
        self.graph.replay()


class GraphedStep(Generic[Results]):
    """A step that is recorded after a few runs and replayed from then on.

    Args:
        step: From the frames shown and the target to results; all else that it reads and writes must stay in place, the
            learning rate too, which has to be a tensor.
        recorder: What records.
    """

    def __init__(
        self,
        step: Callable[[Tensor, Tensor], Results],
        recorder: Recorder[Results],
    ) -> None:
        self.step, self.recorder = step, recorder
        self.runs = 0
        self.inputs: tuple[Tensor, Tensor] | None = None
        self.results: Results | None = None

    def __call__(self, shown: Tensor, target: Tensor) -> Results:
        """Does a step; the results of the one before are overwritten."""
        if self.runs < WARM_UP_STEPS:
            self.runs += 1
            return self.recorder.run(lambda: self.step(shown, target))
        if self.inputs is None:
            self.inputs = (torch.empty_like(shown), torch.empty_like(target))
        for place, value in zip(self.inputs, (shown, target), strict=True):
            place.copy_(value)
        if self.results is None:
            self.results = self.recorder.record(partial(self.step, *self.inputs))
        self.recorder.replay()
        return self.results
