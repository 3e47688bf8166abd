"""Times of the memory's works on a GPU, all contenders in one run, written down case by case.

    python bench/gpu_operators.py OUT [--seconds 200]

OUT/operators-DEVICE.json holds, when the time is up, what has been measured until then: the most telling first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from bench_operators import forward_only, least_bytes, least_flops
from contenders import WORKS, Contender, reference_step
from gpu_timing import Stopwatch, Times, copy_of, graphed, kernels_of
from mnad.runtime.files import atomic_write
from mnad.runtime.provenance import source_commit
from plot_results import device_name, name_of_file
from torch import Tensor

from mnad_ext import MemoryModule, reference

Task = Callable[[Stopwatch], dict[str, Any]]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = DEVICE.type == "cuda"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
BATCHES = (4, 64, 1, 16, 256) if ON_GPU else (1,)
# Of these batch sizes the bars compare ours with all others.
COMPARED_BATCHES = (4, 1)
MAIN = ("read", "step + backward")
# Other numbers of items, and other widths, to see that ours falls off no cliff: B, C, M.
SIZES = [(4, 512, M) for M in (64, 256, 1024)] + [(4, C, 10) for C in (64, 128, 1024)]
SIDE, CHANNELS, ITEMS = 32, 512, 10
LARGE_COPY = 2 << 30
TIMING = (
    "medians by CUDA events, the L2 cache evicted before each round; median_ms: the GPU's own time of a call, the host "
    "far ahead; call_ms: from an idle GPU to the result of a call, Python and launches included (autograd alone takes "
    "0.1 ms and more, whatever the kernels do); graph_ms, graph_call_ms: the same of a replay of the work as a CUDA "
    "graph. Ours is judged by graph_ms where there is one, all else by median_ms"
)


def operands(B: int, C: int, M: int, dtype: str, layout: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(DEVICE).manual_seed(B)
    drawn = torch.randn(B, C, SIDE, SIDE, generator=generator, device=DEVICE).to(DTYPES[dtype])
    items = F.normalize(torch.rand(M, C, generator=generator, device=DEVICE), dim=1)
    return drawn.contiguous(memory_format=LAYOUTS[layout]), items


def with_backward(contender: Contender, dtype: torch.dtype) -> Contender:
    """Adds the gradient of the features, of a read and both losses; what comes from above is drawn once."""
    upstream: list[Tensor] = []

    def run(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
        leaf = features.detach().requires_grad_()
        output, compactness, separateness, new_items = contender(leaf, items)
        if not upstream:
            generator = torch.Generator(DEVICE).manual_seed(0)
            drawn = torch.randn(output.shape, generator=generator, device=DEVICE).to(dtype)
            losses = torch.full_like(compactness, 0.1 / compactness.numel())
            upstream.extend([torch.empty_like(output).copy_(drawn), losses, losses])
        (grad,) = torch.autograd.grad([output, compactness, separateness], [leaf], upstream)
        return output, compactness, separateness, new_items, grad

    return run


def way_of(work: str, name: str, dtype: torch.dtype) -> Contender:
    """Returns a contender; the published way and attention take items in the dtype of the features."""
    part = "step" if work == "step + backward" else work
    if name == "compiled":
        torch.compiler.reset()
        body: Contender = (lambda x, p: reference.memory_read(x, p)[:1]) if work == "read" else reference_step
        way: Contender = torch.compile(body, dynamic=False, fullgraph=True)
    elif name == "published":
        way = _published(WORKS[part][name])
    else:
        way = WORKS[part][name]
    return with_backward(way, dtype) if work == "step + backward" else forward_only(way)


def _published(way: Contender) -> Contender:
    return lambda features, items: way(features, items.to(features.dtype))


def largest_error(work: str, features: Tensor, items: Tensor) -> float:
    """The largest difference of ours to the reference in float64, of all results."""
    expected = way_of(work, "reference", features.dtype)(features.double(), items.double())
    actual = way_of(work, "ours", features.dtype)(features, items)
    return max(float((a.detach().double() - e.detach()).abs().max()) for a, e in zip(actual, expected, strict=True))


def row(work: str, name: str, B: int, C: int, M: int, dtype: str, layout: str, watch: Stopwatch) -> dict[str, Any]:
    """Times one contender in one case."""
    features, items = operands(B, C, M, dtype, layout)
    size = least_bytes(work, features)
    error = graph = None
    if name == "copy":
        times = watch.time(copy_of(size, DEVICE))
    else:
        run = partial(way_of(work, name, features.dtype), features, items)
        times = watch.time(run)
        if name == "ours" and B <= 4:
            error = largest_error(work, features, items)
        if name == "ours" and ON_GPU:
            graph = watch.time(graphed(run))
    case = {"work": work, "B": B, "C": C, "layout": layout, "dtype": dtype, "M": M, "contender": name, "error": error}
    return case | {"bytes": size, "flops": least_flops(work, features, M)} | _figures(times, graph)


def _figures(times: Times, graph: Times | None) -> dict[str, Any]:
    figures = {"median_ms": round(times.device_ms, 5), "call_ms": round(times.call_ms, 5), "rounds": times.rounds}
    if graph is not None:
        figures |= {"graph_ms": round(graph.device_ms, 5), "graph_call_ms": round(graph.call_ms, 5)}
    return figures


def tasks() -> Iterator[tuple[str, Task]]:
    """Returns what is to be measured, and to which list it belongs, the most telling first."""
    layouts = list(LAYOUTS) if ON_GPU else ["contiguous"]
    cases = list(product(BATCHES, DTYPES if ON_GPU else ["float32"], layouts))
    compared = [case for case in cases if case[0] in COMPARED_BATCHES]
    others = [case for case in cases if case not in compared]
    yield from _rows(cases, MAIN, ("ours", "copy"))
    yield from _rows(compared, MAIN, ("reference", "published"))
    if ON_GPU:  # on a CPU the first graph alone takes longer than all else here
        yield from _rows(compared, MAIN, ("compiled",))
    for (B, C, M), layout, work, name in product(SIZES, layouts, MAIN, ("ours", "reference")):
        yield "sizes", partial(row, work, name, B, C, M, "float32", layout)
    yield from _rows(cases, ("read + update",), ("ours", "reference", "published"))
    yield from _rows(others, MAIN, ("reference", "published"))
    yield from _rows(cases, ("read",), ("attention",))
    if ON_GPU:
        yield from _rows(others, MAIN, ("compiled",))


def _rows(cases: list[tuple[int, str, str]], works: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, Task]]:
    for (B, dtype, layout), work, name in product(cases, works, names):
        yield "rows", partial(row, work, name, B, CHANNELS, ITEMS, dtype, layout)


def launches() -> dict[str, list[str]]:
    """Names the kernels of a forward pass: of a read, and of the module, which updates its items as well."""
    features, items = operands(1, CHANNELS, ITEMS, "float32", "contiguous")
    memory = MemoryModule(CHANNELS, ITEMS).to(DEVICE)
    return {
        "memory_read": kernels_of(lambda: WORKS["read"]["ours"](features, items)),
        "MemoryModule, training": kernels_of(lambda: memory(features)),
    }


def commit() -> str:
    """Names the commit: MNAD_COMMIT where the files travelled without their history."""
    return os.environ.get("MNAD_COMMIT") or source_commit()


def results() -> dict[str, Any]:
    """Begins the file of results: where and how it is measured."""
    found: dict[str, Any] = {
        "command": os.environ.get("BENCH_COMMAND", "python bench/gpu_operators.py"),
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "timing": TIMING,
        "launches": {},
        "rows": [],
        "sizes": [],
        "failures": [],
        "left_out": 0,
    }
    return found


def measure(found: dict[str, Any], path: Path, seconds: float) -> None:
    """Does one task after the other until the time is up, and writes down what there is after each."""
    began = time.monotonic()
    watch = Stopwatch(DEVICE, seconds=0.2 if ON_GPU else 0.01)
    left: list[tuple[str, Task]] = [("large_copy", large_copy), *tasks()]
    if ON_GPU:
        left.insert(1, ("launches", lambda _: launches()))
    while left and time.monotonic() - began < seconds:
        kind, task = left.pop(0)
        try:
            measured = task(watch)
        except Exception as error:  # one way that does not run must not cost the figures of all others
            what = repr(task.args) if isinstance(task, partial) else kind
            found["failures"].append({"task": what, "error": str(error)[-500:]})
        else:
            found[kind] = [*found[kind], measured] if kind in ("rows", "sizes") else measured
        found["left_out"] = len(left)
        with atomic_write(path) as temporary:  # whoever ends this in between finds what was measured before
            temporary.write_text(json.dumps(found, indent=1) + "\n")


def large_copy(watch: Stopwatch) -> dict[str, Any]:
    size = LARGE_COPY if ON_GPU else 1 << 20
    return {"bytes": size, "median_ms": watch.time(copy_of(size, DEVICE)).device_ms}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="The folder for the file of results.")
    parser.add_argument("--seconds", type=float, default=200, help="When to stop, whatever is left.")
    options = parser.parse_args()
    found = results()
    path = options.out / f"operators-{name_of_file(found['device'])}.json"
    measure(found, path, options.seconds)
    for failure in found["failures"]:
        print(f"FAILED {failure['task']}: {failure['error']}")
    print(f"{len(found['rows'])} rows, {len(found['sizes'])} sizes, {found['left_out']} left out; wrote {path}")
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
