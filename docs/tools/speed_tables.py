"""Times of the operators, of whole networks, of scoring and of reading data."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from recorded import load, source, table

RESULTS = "bench/results"
MACHINES = ("avx512", "avx2")
OTHERS = {
    "compiled": "torch.compile",
    "reference": "eager",
    "published": "the published way",
    "copy": "a copy",
}
Case = tuple[str, int]


def _file(part: str, machine: str = "avx512") -> str:
    return f"{RESULTS}/{part}-amd-epyc-2-cores-{machine}.json"


def _cases(results: dict[str, Any], **wanted: Any) -> dict[Case, dict[str, float]]:
    """Returns the medians by work and batch size, and by contender."""
    found: dict[Case, dict[str, float]] = defaultdict(dict)
    for row in results["rows"]:
        if all(row[name] == value for name, value in wanted.items()):
            found[row["work"], row["B"]][row["contender"]] = row["median_ms"]
    return found


def _times(value: float | None, ours: float) -> str:
    return "" if value is None else f"{value / ours:.1f}x"


def operators(machine: str, layout: str, dtype: str) -> str:
    """How much longer others take than the operators."""
    path = _file("operators", machine)
    results = load(path)
    rows = [
        [f"{work}, B&nbsp;=&nbsp;{B}", f"{by['ours']:.2f} ms", *(_times(by.get(name), by["ours"]) for name in OTHERS)]
        for (work, B), by in _cases(results, layout=layout, dtype=dtype, M=10).items()
        if B < 16
    ]
    used = [True, True, *(any(row[2 + index] for row in rows) for index in range(len(OTHERS)))]
    head = ["", "mnad_ext", *OTHERS.values()]
    kept = [[cell for cell, keep in zip(row, used, strict=True) if keep] for row in [head, *rows]]
    return f"{table(kept[0], kept[1:])}\n\n{source(path, results)}"


def items(machine: str) -> str:
    """How the number of items counts."""
    path = _file("operators", machine)
    results = load(path)
    rows = []
    for M in (10, 64, 256, 1024):
        cases = _cases(results, layout="contiguous", dtype="float32", M=M)
        cells = [cases[work, 1] for work in ("read", "step + backward")]
        rows.append(
            [str(M), *(cell for by in cells for cell in (f"{by['ours']:.2f} ms", _times(by["reference"], by["ours"])))]
        )
    head = ["items M", "read", "eager", "step + backward", "eager"]
    return f"{table(head, rows)}\n\n{source(path, results)}"


def works(part: str) -> str:
    """What each way of doing a work takes for one of its units, and how much of it is the memory's."""
    path = _file(part)
    results = load(path)
    rows, first = [], {}
    for row in results["rows"]:
        each = row["median_ms"] / row["count"]
        ours = first.setdefault(row["work"], each)
        cells = [row["work"], row["way"], f"{each:.2f} ms a {row['unit'].removesuffix('s')}", f"{each / ours:.2f}x"]
        if "memory_ms" in row:
            cells.append(f"{row['memory_ms']:.2f} ms")
        rows.append(cells)
    head = ["work", "way", "time", "to the first"] + (["of it the memory, a batch"] if len(rows[0]) > 4 else [])
    return f"{table(head, rows)}\n\n{source(path, results)}"


def roofline(machine: str) -> str:
    """What the machine could do at best, beside what the kernels take."""
    path = _file("roofline", machine)
    results = load(path)
    columns = {
        "median_ms": "mnad_ext, without autograd",
        "streamed_ms": "copying as many bytes past the caches",
        "copied_ms": "copying them through the caches",
        "multiply_add_ms": "the multiply-adds at peak speed",
    }
    rows = [
        [f"{row['work']}, B&nbsp;=&nbsp;{row['B']}", *(f"{row[name]:.2f} ms" for name in columns)]
        for row in results["rows"]
    ]
    return f"{table(['', *columns.values()], rows)}\n\n{source(path, results)}"


def runtimes() -> str:
    """How fast each runtime executes a model, to PyTorch, and how far its P lies from PyTorch's."""
    path = _file("runtimes")
    results = load(path)
    ours = {(row["model"], row["batch"]): row for row in results["rows"] if row["runtime"] == "torch"}
    others = [row for row in results["rows"] if row["runtime"] != "torch"]
    rows = []
    for (model, batch), torch in ours.items():
        cells = [model, str(batch), f"{torch['frames_per_second']:.1f} frames/s"]
        for row in others:
            if (row["model"], row["batch"]) == (model, batch):
                times = row["frames_per_second"] / torch["frames_per_second"]
                cells.append(f"{times:.2f}x, {row['psnr_difference']:.0e} dB")
        rows.append(cells)
    versions = [f"{name} {version}" for name, version in results["runtimes"].items()]
    stamp = {**results, "torch": f"{results['torch']}, {', '.join(versions)}, {results['threads']} threads"}
    return f"{table(['model', 'batch', 'torch', *results['runtimes']], rows)}\n\n{source(path, stamp)}"


TABLES = {"operators": operators, "items": items, "works": works, "roofline": roofline, "runtimes": runtimes}
