"""Predicts what share of a copy's speed the compiled kernels reach, for a GPU that need not be there.

    make cuda
    python bench/gpu_model.py [--device h200] [--work read step backward] [--batch 1 4 64 256]
    python bench/gpu_model.py --measured bench/results/operators-DEVICE.json     the measured share beside it

What a tile costs is read from the machine code for sm_90 (gpu_phases.py); how a pass is cut into tiles and chunks is
asked of csrc/cuda/plan.h.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

from cuda_resources import nvdisasm, output, short_name
from gpu_bars import judged
from gpu_phases import BLOCKS, BYTES, THREADS, TILE_COLUMNS, TYPES, Case, Plan, TileCost, tile_cost
from rich.console import Console
from rich.table import Table
from sass import Body, read

ROOT = Path(__file__).parents[1]
COMPILED = ROOT / "build" / "cuda-check"
sys.path.insert(0, str(ROOT / "build_tools"))

# All of these are assumptions.
BANDWIDTH = {"h100": 3.0e12, "h200": 4.3e12}  # bytes/s of a large copy, reads and writes: what such GPUs reach
CLOCK = 1.755e9  # Hz that SXM modules sustain
PROCESSORS = 132  # data sheet; gpu_plan.cpp tells the plan the same
SHARED, RESERVED = 228 << 10, 1 << 10  # bytes of shared memory of a multiprocessor, and of each block for itself
SCHEDULERS, BANKS = 4, 32  # of a multiprocessor: an instruction of a warp, and 4-byte words, a cycle; documented
L2_BANDWIDTH = 5.5e12  # bytes/s; published microbenchmarks
PORT = 64  # bytes a cycle from the L2 cache to a multiprocessor; documented
LOAD_LATENCY, ITEM_LATENCY = 800, 700  # cycles of a load from memory under load, and from the L2 cache; microbenchmarks
BARRIER = 40  # cycles until all warps of a block go on; guessed
CHAIN = 1000  # cycles a tile of dependent shared loads, shuffles, roots and divisions; guessed
LAUNCH = 2.5e-6  # seconds of a kernel's start and end, a copy's too; usual

PARTS = {"step + backward": ("step", "backward")}  # a work of several passes
KERNELS = {"read": 1, "step": 3, "backward": 1, "backward+items": 2}  # with those that finish sums and update items


@dataclass(frozen=True)
class Prediction:
    seconds: float
    copy_seconds: float
    limit: str

    @property
    def share(self) -> float:
        return self.copy_seconds / self.seconds


def limits(case: Case, plan: Plan, cost: TileCost, rate: float, resident: int) -> dict[str, float]:
    """Cycles of a multiprocessor for a tile, by what may limit it. `rate`: bytes a cycle that it gets from memory."""
    memory = plan.tile * case.bytes / rate
    issue = cost.instructions * THREADS / 32 / SCHEDULERS
    shared = cost.shared * THREADS / BANKS
    read_maps = case.maps - (2 if case.work in ("read", "step") else 1)
    loaded = 0 if plan.twice else cost.load_rounds * LOAD_LATENCY + read_maps / case.maps * memory
    chain = loaded + max(issue, shared) + cost.barriers * BARRIER + CHAIN
    # Where the items don't fit into shared memory every tile has them from the L2 cache.
    passes = 0 if plan.items_shared else 1 if case.work == "backward" else 2
    items = passes * case.M * case.C * case.computing / PORT
    return {"memory": memory, "issue": issue, "shared": shared, "items": items, "latency": chain / resident}


def predict(case: Case, plan: Plan, cost: TileCost, device: str) -> Prediction:
    chunks = ceil(plan.chunks / PROCESSORS)  # of the multiprocessor that has most
    resident = min(chunks, SHARED // (plan.shared_bytes + RESERVED), BLOCKS)
    rate = min(BANDWIDTH[device] / CLOCK / min(PROCESSORS, plan.chunks), PORT)
    cycles = limits(case, plan, cost, rate, resident)
    limit = max(cycles, key=lambda name: cycles[name])
    items = 2 * ITEM_LATENCY + chunks * case.M * case.C * case.computing / PORT
    written = chunks * plan.partial_bytes / plan.chunks / rate
    tiles = chunks * ceil(case.B * plan.tiles_per_sample / plan.chunks)
    seconds = (tiles * cycles[limit] + items + written) / CLOCK
    seconds += KERNELS[case.work] * LAUNCH + plan.partial_bytes / L2_BANDWIDTH
    copied = case.maps * case.B * case.P * case.C * BYTES[case.dtype]
    return Prediction(seconds, LAUNCH + copied / BANDWIDTH[device], limit)


@functools.cache
def bodies(source: str) -> dict[str, Body]:
    """The kernels of a source as compiled for an H100 and an H200, by their short names."""
    cubins = list((COMPILED / source).glob("*_90.cubin"))
    if not cubins:
        raise ValueError(f"there is no {source}.*_90.cubin in {COMPILED}: run `make cuda` first")
    # A warp goes that way where its lanes are apart at a shuffle, which here they never are.
    _, found = read(output(nvdisasm(), "-c", str(cubins[0])).replace("BRA.DIV", "NOP.DIV"))
    names = output("c++filt", given="\n".join(found)).splitlines()
    return {short_name(name): body for name, body in zip(names, found.values(), strict=True)}


def body_of(case: Case, plan: Plan) -> Body:
    source = "backward" if case.work.startswith("backward") else "forward"
    last = "true" if case.layout == "channels-last" else "false"
    kind = "FastTwice" if plan.twice else "Fast" if plan.fast else "General"
    rows = f"{plan.tile // TILE_COLUMNS}, " if kind == "Fast" else ""
    name = f"{source}_kernel<{kind}<{TYPES[case.dtype]}, {rows}{last}>>"
    if name not in bodies(source):
        raise ValueError(f"{COMPILED} has no {name}: run `make cuda` first")
    return bodies(source)[name]


@functools.cache
def planner() -> Path:
    """Compiles gpu_plan.cpp."""
    from configuration import find_nvcc
    from ninja_build import cuda_folders

    nvcc = find_nvcc(torch_has_cuda=True)
    if nvcc is None:
        raise ValueError("there is no nvcc, whose headers the plan needs")
    program = ROOT / "build" / "gpu_plan"
    program.parent.mkdir(exist_ok=True)
    folders = [f"-isystem{folder}" for folder in cuda_folders(nvcc, "include")]
    source = str(ROOT / "bench" / "gpu_plan.cpp")
    subprocess.run(["g++", "-std=c++20", f"-I{ROOT / 'csrc'}", *folders, source, "-o", str(program)], check=True)
    return program


def plans(device: str, cases: Sequence[Case]) -> list[Plan]:
    arguments = [str(value) for case in cases for value in vars(case).values()]
    return [Plan(**json.loads(line)) for line in output(str(planner()), device, *arguments).splitlines()]


def measured_share(found: Mapping[str, Any], case: Case) -> str:
    """What share of a copy's speed was measured for a case; a dash where none was."""
    wanted = {"B": case.B, "C": case.C, "M": case.M, "dtype": case.dtype, "layout": case.layout, "work": case.work}
    rows = {row["contender"]: row for row in found["rows"] if wanted.items() <= row.items()}
    if not {"ours", "copy"} <= set(rows):
        return "-"
    ours, _ = judged(rows["ours"])
    return f"{rows['copy']['median_ms'] / ours:.0%}"


def row_of_pass(case: Case, plan: Plan, cost: TileCost, prediction: Prediction) -> list[str]:
    """Figures of a position, but for the barriers."""
    of_position = THREADS / plan.tile
    partial = plan.partial_bytes / (case.B * case.P)
    figures = (cost.wide, cost.shared, cost.madds, cost.instructions, cost.between)
    return [
        f"{plan.tile}{'x2' if plan.twice else ''}",
        str(plan.chunks),
        f"{case.bytes} + {partial:.0f}" if partial else str(case.bytes),
        *(f"{figure * of_position:.0f}" for figure in figures),
        str(cost.barriers),
        prediction.limit,
    ]


def rows(device: str, cases: Sequence[Case], measured: Mapping[str, Any] | None) -> Iterator[list[str]]:
    parts = [part for case in cases for part in parts_of(case)]
    planned = dict(zip(parts, plans(device, parts), strict=True))
    for case in cases:
        named = [case.work, case.dtype, case.layout, str(case.B)]
        passes = [(part, planned[part]) for part in parts_of(case)]
        costed = [(part, plan, tile_cost(body_of(part, plan), part, plan)) for part, plan in passes]
        predictions = [predict(*one, device) for one in costed]
        seconds = sum(one.seconds for one in predictions)
        copied = sum(one.copy_seconds for one in predictions) - (len(predictions) - 1) * LAUNCH
        figures = row_of_pass(*costed[0], predictions[0]) if len(costed) == 1 else [""] * (len(COLUMNS) - 2)
        shown = [*named, *figures, f"{seconds * 1e6:.1f}", f"{copied / seconds:.0%}"]
        yield shown if measured is None else [*shown, measured_share(measured, case)]


def parts_of(case: Case) -> list[Case]:
    return [replace(case, work=work) for work in PARTS.get(case.work, (case.work,))]


COLUMNS = (
    "tile", "chunks", "bytes", "wide", "shared words", "multiply-adds", "instructions", "between loops",
    "barriers a tile", "limit", "us", "of copy",
)  # fmt: skip


def table(device: str, cases: Sequence[Case], measured: Mapping[str, Any] | None) -> Table:
    title = f"{device.upper()}, predicted, not measured; a position's share, from the kernels as compiled for sm_90"
    shown = Table(title=title, box=None, header_style="bold")
    for column in ("work", "dtype", "layout", "B", *COLUMNS, *(["measured"] if measured else [])):
        left = column in ("work", "dtype", "layout", "limit")
        shown.add_column(column, no_wrap=left, justify="left" if left else "right")
    for row in rows(device, cases, measured):
        shown.add_row(*row)
    return shown


def positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=BANDWIDTH, default="h100")
    works = [*KERNELS, *PARTS]
    parser.add_argument("--work", nargs="+", choices=works, default=["read", "step", "backward", "step + backward"])
    parser.add_argument("--dtype", nargs="+", choices=TYPES, default=["float32", "bfloat16"])
    layouts = ["contiguous", "channels-last"]
    parser.add_argument("--layout", nargs="+", choices=layouts, default=layouts)
    parser.add_argument("--batch", nargs="+", type=positive, default=[1, 4, 64, 256])
    for name, value in (("channels", 512), ("positions", 1024), ("items", 10)):
        parser.add_argument(f"--{name}", type=positive, default=value)
    parser.add_argument("--measured", type=Path, help="A file of results of bench/gpu_operators.py.")
    options = parser.parse_args()
    shape = (options.channels, options.positions, options.items)
    cases = [Case(*one, *shape) for one in product(options.work, options.dtype, options.layout, options.batch)]
    measured = json.loads(options.measured.read_text()) if options.measured else None
    try:
        Console(width=180).print(table(options.device, cases, measured))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
