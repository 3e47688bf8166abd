"""Times on a GPU by CUDA events, in two senses, each beginning with the data in memory and not in the L2 cache.

- device: how long the GPU works. The host is far ahead, so that what it needs to launch does not count.
- call: from an idle GPU to the finished result, the host's part included: what one who waits for a call sees.

A work that is captured as a CUDA graph is timed in the same two senses: the graph leaves out what Python costs a call.

On a CPU, where these lines can only be tried out, both are the time of the clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

Work = Callable[[], object]
CACHE_BYTES = 256 << 20  # several times the L2 of any GPU
CYCLES_A_SECOND = 2e9  # no GPU's clock is much faster, so a pause is never too short


@dataclass(frozen=True)
class Times:
    """Medians in milliseconds, and of how many rounds."""

    device_ms: float
    call_ms: float
    rounds: int


class Stopwatch:
    """Times works on a device.

    Args:
        device: Where they run.
        seconds: How long to measure each work, about; the rounds follow from it.
    """

    def __init__(self, device: torch.device, seconds: float = 0.2) -> None:
        self.device, self.seconds = device, seconds
        self.evicting = torch.empty(CACHE_BYTES // 4 if device.type == "cuda" else 0, device=device)
        self.sum = torch.empty((), device=device)

    def time(self, run: Work) -> Times:
        """Times a work that has not run yet; its first three runs do not count."""
        for _ in range(3):
            run()
        self._finish()
        began = time.perf_counter()
        run()
        host = time.perf_counter() - began
        self._finish()
        whole = time.perf_counter() - began
        rounds = max(7, min(100, int(self.seconds / (3 * whole + 2e-4))))
        if self.device.type != "cuda":
            took = [self._by_the_clock(run) for _ in range(rounds)]
            return Times(statistics.median(took), statistics.median(took), rounds)
        return Times(self._device_ms(run, rounds, host), self._call_ms(run, rounds), rounds)

    def _device_ms(self, run: Work, rounds: int, host: float) -> float:
        def get_ahead() -> None:
            torch.cuda._sleep(int(2 * host * CYCLES_A_SECOND))

        return self._by_events(run, rounds, get_ahead)

    def _call_ms(self, run: Work, rounds: int) -> float:
        return self._by_events(run, rounds, self._finish)

    def _by_events(self, run: Work, rounds: int, prepare: Work) -> float:
        pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(rounds)]
        for begin, end in pairs:
            # Read and not written: lines that wait to be written back would slow down what is measured.
            torch.sum(self.evicting, dim=0, out=self.sum)
            prepare()
            begin.record()
            run()
            end.record()
        self._finish()
        return statistics.median(begin.elapsed_time(end) for begin, end in pairs)

    def _by_the_clock(self, run: Work) -> float:
        began = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - began)

    def _finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def graphed(run: Work) -> Work:
    """Captures a work as a CUDA graph and gives its replay."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        kept = run()

    def replay() -> object:
        graph.replay()
        return kept  # its memory belongs to the graph

    return replay


def kernels_of(run: Work) -> list[str]:
    """Names the kernels that a work launches, in their order; copies and fills of memory are not kernels."""
    run()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        run()
        torch.cuda.synchronize()
    return [event.name for event in _on_the_gpu(found) if not event.name.startswith(("Memcpy", "Memset"))]


def _on_the_gpu(found: profile) -> list[Any]:
    on_gpu = torch.autograd.DeviceType.CUDA
    events = [event for event in found.events() or () if event.device_type == on_gpu and not event.is_user_annotation]
    return sorted(events, key=lambda event: event.time_range.start)


def copy_of(size: int, device: torch.device) -> Work:
    """Returns a copy within the device's memory that reads and writes ``size`` bytes in all."""
    source = torch.randint(0, 255, (size // 2,), dtype=torch.uint8, device=device)
    target: Tensor = torch.empty_like(source)
    return lambda: target.copy_(source)
