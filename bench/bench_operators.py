"""Times of the memory's works at the published shape, all contenders in one run: make bench."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from contenders import WORKS, Contender, copy_read, reference_step
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from mnad_ext import reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
C, H, W = 512, 32, 32
PUBLISHED_ITEMS, MANY_ITEMS = 10, [64, 256, 1024]
BATCHES = [1, 4, 16] if DEVICE == "cpu" else [1, 4, 16, 64, 256]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Each contender is measured for so long in each of the sittings, which are a minute or two apart: a shared machine may
# be slow for seconds. What counts is the median of the sittings' medians.
SECONDS, SITTINGS = 0.25, 3


@functools.lru_cache(maxsize=1)  # cases that share them come one after the other
def operands(B: int, layout: str, dtype: str, M: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(B)
    features = torch.randn(B, C, H, W, generator=generator).to(DEVICE, DTYPES[dtype])
    # Items as the training starts from.
    items = F.normalize(torch.rand(M, C, generator=generator), dim=1).to(DEVICE)
    return features.contiguous(memory_format=LAYOUTS[layout]), items


def forward_only(contender: Contender) -> Contender:
    @torch.inference_mode()
    def run(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
        return contender(features, items)

    return run


def with_backward(contender: Contender) -> Contender:
    """Adds the gradient of the features, of a read and both losses."""

    def run(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
        leaf = features.detach().requires_grad_()
        output, compactness, separateness, new_items = contender(leaf, items)
        outputs = [output, compactness, separateness]
        (grad,) = torch.autograd.grad(outputs, [leaf], _upstream(output, compactness))
        return output, compactness, separateness, new_items, grad

    return run


@functools.lru_cache(maxsize=1)
def _gradient(shape: tuple[int, ...], dtype: torch.dtype, channels_last: bool) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)
    return drawn.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _upstream(output: Tensor, compactness: Tensor) -> list[Tensor]:
    channels_last = output.stride(1) == 1
    losses = torch.full_like(compactness, 0.1 / compactness.numel())
    return [_gradient(tuple(output.shape), output.dtype, channels_last), losses, losses]


@functools.cache
def compiled(work: str) -> Contender:
    torch._dynamo.config.recompile_limit = 64
    body: Contender = (lambda x, p: reference.memory_read(x, p)[:1]) if work == "read" else reference_step
    return torch.compile(body, dynamic=False, fullgraph=True)


def contenders_for(work: str, B: int, layout: str, dtype: str) -> list[str]:
    names = list(WORKS["step" if work == "step + backward" else work])
    if work in {"read", "step + backward"}:
        names += ["compiled", "copy"]
    if dtype == "bfloat16":
        names = [name for name in names if name in {"ours", "reference", "copy"}]
    if B > 4 and DEVICE == "cpu":  # a second and more for each call of the others
        names = [name for name in names if name in {"ours", "copy"}]
    return names


def cases() -> list[Any]:
    works = [*WORKS, "step + backward"]
    found = [
        (work, B, layout, dtype, PUBLISHED_ITEMS, name)
        for dtype, layout, B, work in itertools.product(DTYPES, LAYOUTS, BATCHES, works)
        for name in contenders_for(work, B, layout, dtype)
    ]
    found += [
        (work, 1, layout, "float32", M, name)
        for work, layout, M in itertools.product(["read", "step + backward"], LAYOUTS, MANY_ITEMS)
        for name in ("ours", "reference")
    ]
    return [
        pytest.param(*case, sitting, id="-".join(map(str, [*case, sitting])))
        for sitting in range(SITTINGS)
        for case in found
    ]


def contender_of(work: str, name: str) -> Contender:
    if work == "step + backward":
        return with_backward(compiled("step") if name == "compiled" else WORKS["step"][name])
    return forward_only(compiled(work) if name == "compiled" else WORKS[work][name])


def limit_of(work: str, features: Tensor) -> Callable[[], object]:
    """The copies that move as many bytes as the work must: features in, output out; and both gradients."""
    output = features.new_empty(features.shape[0], 2 * C, H, W)
    output = output.contiguous(memory_format=torch.channels_last) if features.stride(1) == 1 else output
    grad, other = torch.empty_like(features), torch.ones_like(features)

    def run() -> None:
        copy_read(features, output)
        if work == "step + backward":
            torch.add(features, other, out=grad)

    return run


def least_bytes(work: str, features: Tensor) -> int:
    """What the work must at least read and write."""
    size = features.numel() * features.element_size()
    maps = {"read": 3, "assign": 1, "update": 1, "read + update": 3, "step": 3, "step + backward": 6}[work]
    return maps * size


def least_flops(work: str, features: Tensor, M: int) -> int:
    queries, products = features.numel() // C, 2 * C * M
    per_query = {
        "read": 2 * products + 3 * C,
        "assign": products + 2 * C,
        "update": products + 4 * C,
        "read + update": 2 * products + 10 * C,
        "step": 2 * products + 15 * C,
        "step + backward": 2 * products + 40 * C,
    }[work]
    return queries * per_query


@functools.lru_cache(maxsize=1)  # so do contenders of a case
def expected_results(work: str, B: int, layout: str, dtype: str, M: int) -> tuple[Tensor, ...]:
    """What the reference gives in float64."""
    features, items = operands(B, layout, dtype, M)
    return contender_of(work, "reference")(features.double(), items.double())


def largest_error(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """The largest difference of all results."""
    # The published losses are means over the batch.
    pairs = [(a, e if a.shape == e.shape else e.mean()) for a, e in zip(actual, expected, strict=False)]
    return max(float((a.double() - e.double()).abs().max()) for a, e in pairs)


@pytest.mark.parametrize(("work", "B", "layout", "dtype", "M", "name", "sitting"), cases())
def bench_operator(
    benchmark: BenchmarkFixture, work: str, B: int, layout: str, dtype: str, M: int, name: str, sitting: int
) -> None:
    features, items = operands(B, layout, dtype, M)
    error = None
    if name == "copy":
        run = limit_of(work, features)
    else:
        contender = contender_of(work, name)
        if B <= 4 and sitting == 0:
            error = largest_error(contender(features, items), expected_results(work, B, layout, dtype, M))
        run = functools.partial(contender, features, items)
    benchmark.extra_info |= {
        "work": work,
        "B": B,
        "layout": layout,
        "dtype": dtype,
        "M": M,
        "contender": name,
        "error": error,
        "bytes": least_bytes(work, features),
        "flops": least_flops(work, features, M),
    }
    benchmark.pedantic(synchronised(run), rounds=rounds_of(run))


def synchronised(run: Callable[[], object]) -> Callable[[], None]:
    def finished() -> None:
        run()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return finished


def rounds_of(run: Callable[[], object]) -> int:
    """Warms up and tells how often a contender runs in a sitting."""
    run()
    began = time.perf_counter()
    for _ in range(2):
        synchronised(run)()
    return max(3, int(SECONDS * 2 / (time.perf_counter() - began)))
