"""The training step and the scoring step of the whole network, and the memory's share of each: make bench.

The plain way is the same network in float32, contiguous and eager, on the memory of mnad_ext.reference.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from mnad.measuring import update_errors
from mnad.training.losses import LossWeights, losses_of
from networks import DEVICE, NETWORKS, build, memory_of
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

WEIGHTS = LossWeights(compactness=0.1, separateness=0.1, supervision=0)
OURS, COMPILED, PLAIN = "mnad_ext", "mnad_ext, compiled", "reference, plain eager"
TRAINING_BATCH, ROUNDS = 4, 9


def windows(way: str, batch: int, size: int) -> Tensor:
    frames = torch.rand(batch, 15, size, size, device=DEVICE) * 2 - 1
    return frames if way == PLAIN else frames.contiguous(memory_format=torch.channels_last)


def training_step(way: str, size: int, width: int) -> tuple[Callable[[], None], float]:
    """Returns the step, and the milliseconds that the memory takes of it."""
    model = build(width, plain=way == PLAIN).train()
    optimizer = torch.optim.Adam(model.parameters(), 2e-4, fused=way != PLAIN)
    network = torch.compile(model, fullgraph=True) if way == COMPILED else model
    frames = windows(way, TRAINING_BATCH, size)

    def step() -> None:
        restored = network(frames[:, :12])
        losses = losses_of(restored, frames[:, 12:], WEIGHTS)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        finish()

    features = model.encoder(frames[:, :12])[0].detach().requires_grad_()
    upstream = torch.ones_like(memory_of(model)(features).output)

    def memory_alone() -> None:
        read = memory_of(model)(features)
        assert read.separateness is not None
        losses = 0.1 * (read.compactness.mean() + read.separateness.mean())
        torch.autograd.backward([read.output, losses], [upstream, torch.ones_like(losses)])
        finish()

    return step, median_ms(memory_alone)


def scoring_step(way: str, size: int, width: int) -> tuple[Callable[[], None], float]:
    """Returns the step of one frame that updates the items, and the milliseconds that the memory takes of it."""
    model = build(width, plain=way == PLAIN).eval()
    network = torch.compile(model, fullgraph=True) if way == COMPILED else model
    frames = windows(way, 1, size)
    memory = memory_of(model)

    @torch.inference_mode()
    def step() -> None:
        restored = network(frames[:, :12])
        errors = ((restored.frames - frames[:, 12:]) / 2).square()
        if bool(update_errors(errors) < 1):
            memory.update(restored.features)

    with torch.inference_mode():
        features = model.encoder(frames[:, :12])[0]

    @torch.inference_mode()
    def memory_alone() -> None:
        memory(features)
        memory.update(features)
        finish()

    return step, median_ms(memory_alone)


def finish() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def median_ms(work: Callable[[], None], rounds: int = 15) -> float:
    times = []
    for _ in range(rounds + 3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times[3:])


@pytest.mark.parametrize("way", [OURS, COMPILED, PLAIN])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("work", ["training", "scoring"])
def bench_network(benchmark: BenchmarkFixture, work: str, network: str, way: str) -> None:
    size, width = NETWORKS[network]
    torch.compiler.reset()
    step, memory_ms = (training_step if work == "training" else scoring_step)(way, size, width)
    count = TRAINING_BATCH if work == "training" else 1
    benchmark.group = f"{work} step, {network}, B = {count}"
    benchmark.extra_info.update(
        part="networks", work=benchmark.group, way=way, count=count, unit="frames", memory_ms=round(memory_ms, 4)
    )
    benchmark.pedantic(step, rounds=ROUNDS if work == "training" else 3 * ROUNDS, warmup_rounds=1)
