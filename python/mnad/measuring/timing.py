"""How fast each runtime that is installed executes a model on this machine, and whether it gives the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import get_args

import numpy as np
import torch

from mnad.measuring.metrics import psnr
from mnad.measuring.network import MSE, DecodedRows, Network
from mnad.measuring.options import RuntimeName
from mnad.models import Autoencoder
from mnad.runtime.errors import ConfigError
from mnad.runtime.progress import print_beside

CLEARLY_FASTER = 1.2
WARM_UP = 3  # steps
TURNS = 4


@dataclass(frozen=True)
class RuntimeTiming:
    """A runtime at one size of batch.

    Attributes:
        runtime: Its name.
        batch: Windows at a time.
        frames_per_second: Of encoding, reading the memory, decoding and measuring: the median step's.
        psnr_difference: How far P lies from PyTorch's at most, in dB.
    """

    runtime: RuntimeName
    batch: int
    frames_per_second: float
    psnr_difference: float


@torch.inference_mode()
def time_runtimes(model: Autoencoder, size: int, batches: Sequence[int], seconds: float) -> list[RuntimeTiming]:
    """Times the steps of all runtimes that are installed, in turns, so that what slows the machine slows all alike.

    Args:
        model: On the CPU. Its speed does not depend on what it has learned.
        size: S, height and width of its frames.
        batches: Windows at a time.
        seconds: For each runtime at each size of batch.
    """
    networks = {}
    for runtime in get_args(RuntimeName):
        try:
            networks[runtime] = Network(model, runtime=runtime, size=size)
        except ConfigError as error:
            print_beside(f"left out: {error}")
    found = []
    for batch in batches:
        pixels = _windows(model, size, batch)
        steps = {name: _step(network, pixels) for name, network in networks.items()}
        outputs = {name: step() for name, step in steps.items() for _ in range(WARM_UP)}
        times = _in_turns(steps, seconds)
        p = {name: psnr(decoded.metrics[:, MSE]) for name, decoded in outputs.items()}
        found += [
            RuntimeTiming(name, batch, batch / median(taken), float(np.abs(p[name] - p["torch"]).max()))
            for name, taken in times.items()
        ]
    return found


def advice(timings: Sequence[RuntimeTiming]) -> str:
    """Returns a sentence: which runtime to name, for a stream by itself (the smallest batch) and for whole videos."""
    smallest, largest = min(each.batch for each in timings), max(each.batch for each in timings)
    words = []
    for use, batch in (("mnad watch", smallest), ("mnad score", largest)):
        speed = {each.runtime: each.frames_per_second for each in timings if each.batch == batch}
        best = max(speed, key=speed.__getitem__)
        times = speed[best] / speed["torch"]
        named = f"--runtime {best} ({times:.1f} times as fast)" if times >= CLEARLY_FASTER else "torch, the default"
        words.append(f"for {use} take {named}")
    return "; ".join(words)


def _windows(model: Autoencoder, size: int, batch: int) -> torch.Tensor:
    config = model.config
    generator = torch.Generator().manual_seed(0)
    shape = (batch, config.window, size, size, config.image_channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _step(network: Network, pixels: torch.Tensor) -> Callable[[], DecodedRows]:
    items = None if network.memory is None else network.memory.items
    return lambda: network.encode(pixels).restore(range(len(pixels)), items)


def _in_turns(steps: dict[RuntimeName, Callable[[], DecodedRows]], seconds: float) -> dict[RuntimeName, list[float]]:
    """Times each in some turns; a turn's first step is not counted, as the threads of the one before wait spinning."""
    times: dict[RuntimeName, list[float]] = {name: [] for name in steps}
    for _ in range(TURNS):
        for name, step in steps.items():
            step()
            end = time.perf_counter() + seconds / TURNS
            while True:
                began = time.perf_counter()
                step()
                now = time.perf_counter()
                times[name].append(now - began)
                if now >= end:
                    break
    return times
