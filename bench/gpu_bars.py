"""Judges which of the bars that the operators have to clear on a GPU they clear, from a file of results.

    python bench/gpu_bars.py OUT/operators-DEVICE.json      prints a table, writes OUT/bars.json and OUT/table.md

What counts is the GPU's own time: ours as a CUDA graph where that was measured, else that of a call; each bar says
which. Whole calls, with what Python costs them, stand beside it in the notes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import plot_results

Row = dict[str, Any]
Case = dict[str, Row]
MOST_LAUNCHES = 3
# Percent of what a copy of as many bytes reaches.
OF_BANDWIDTH = {
    ("read", "float32"): 80,
    ("read", "bfloat16"): 60,
    ("step + backward", "float32"): 60,
    ("step + backward", "bfloat16"): 60,
}
# At least so many times faster than another way, at these batch sizes.
FASTER = [
    ("read", (1, 4), "reference", 8.0),
    ("read", (1, 4), "compiled", 3.0),
    ("step + backward", (4,), "published", 30.0),
    ("step + backward", (4,), "compiled", 5.0),
]
LARGE_BATCH = 64
SHOWN_FAILURES = 5
# Microseconds of a step with its backward pass, as a CUDA graph, at the batch size of the published training.
STEP_MICROSECONDS, STEP_BATCH = 40, 4


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        what: The work, the case, and what it is compared with.
        measured: What was measured; None if it was not.
        wanted: What is to be reached, at least or at most.
        unit: Of both, such as ``"x"``.
        at_most: Whether ``wanted`` is not to be exceeded.
        note: The figures behind it.
    """

    what: str
    measured: float | None
    wanted: float
    unit: str
    at_most: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """reached, missed, or not measured."""
        if self.measured is None:
            return "not measured"
        cleared = self.measured <= self.wanted if self.at_most else self.measured >= self.wanted
        return "reached" if cleared else "missed"


def bars(results: dict[str, Any]) -> list[Bar]:
    """Returns every bar."""
    cases = plot_results.by_case(results)
    found = [*_bandwidth(cases), *_small_steps(cases)]
    for work, batches, other, wanted in FASTER:
        found += _faster(cases, work, batches, other, wanted)
    found += _launches(results)
    found += _sizes(results)
    return found


def judged(row: Row) -> tuple[float, str]:
    """Returns the time by which a row is judged, in milliseconds, and which of its times that is."""
    return (row["graph_ms"], "by graph") if "graph_ms" in row else (row["median_ms"], "by call")


def _bandwidth(cases: dict[tuple[Any, ...], Case]) -> Iterator[Bar]:
    for (work, dtype, layout, B, _), case in sorted(cases.items()):
        if (work, dtype) not in OF_BANDWIDTH or B < LARGE_BATCH:
            continue
        share, note = None, ""
        if {"ours", "copy"} <= case.keys():
            ours, way = judged(case["ours"])
            copy = case["copy"]["median_ms"]
            share, size = 100 * copy / ours, case["ours"]["bytes"]
            note = f"{way}: {size / ours / 1e6:.0f} of {size / copy / 1e6:.0f} GB/s"
        wanted = OF_BANDWIDTH[work, dtype]
        yield Bar(f"{work}, B = {B}, {dtype}, {layout}: of a copy", share, wanted, "%", note=note)


def _small_steps(cases: dict[tuple[Any, ...], Case]) -> Iterator[Bar]:
    for (work, dtype, layout, B, _), case in sorted(cases.items()):
        if work == "step + backward" and B == STEP_BATCH:
            took, note = None, ""
            if "graph_ms" in case.get("ours", {}):
                took, call, whole = (1e3 * case["ours"][name] for name in ("graph_ms", "median_ms", "call_ms"))
                note = f"by graph; by call {call:.0f} us, whole calls {whole:.0f} us"
            what = f"{work}, B = {B}, {dtype}, {layout}: GPU time"
            yield Bar(what, took, STEP_MICROSECONDS, "us", at_most=True, note=note)


def _faster(
    cases: dict[tuple[Any, ...], Case], work: str, batches: tuple[int, ...], other: str, wanted: float
) -> Iterator[Bar]:
    for (found, dtype, layout, B, _), case in sorted(cases.items()):
        if found != work or B not in batches:
            continue
        ratio, note = None, ""
        if {"ours", other} <= case.keys():
            ours, way = judged(case["ours"])
            ratio = case[other]["median_ms"] / ours
            note = f"ours {way}; whole calls {case[other]['call_ms'] / case['ours']['call_ms']:.1f}x"
        yield Bar(f"{work}, B = {B}, {dtype}, {layout}: faster than {other}", ratio, wanted, "x", note=note)


def _launches(results: dict[str, Any]) -> Iterator[Bar]:
    graphs = [
        f"{row['work']} {row['graph_ms']:.4f} ms"
        for row in results["rows"]
        if row["B"] == 1 and row["dtype"] == "float32" and row["layout"] == "contiguous" and "graph_ms" in row
    ]
    for name, kernels in results["launches"].items():
        note = f"as a CUDA graph: {'; '.join(graphs)}" if graphs else ""
        yield Bar(f"{name}, forward, B = 1: kernels", len(kernels), MOST_LAUNCHES, "", at_most=True, note=note)


def _sizes(results: dict[str, Any]) -> Iterator[Bar]:
    pairs: dict[tuple[Any, ...], Case] = {}
    for row in results["sizes"]:
        pairs.setdefault((row["C"], row["M"], row["work"], row["layout"]), {})[row["contender"]] = row
    for (C, M, work, layout), case in pairs.items():
        ratio, note = None, ""
        if {"ours", "reference"} <= case.keys():
            ours, way = judged(case["ours"])
            ratio, note = case["reference"]["median_ms"] / ours, f"ours {way}"
        yield Bar(f"{work}, C = {C}, M = {M}, {layout}: no slower than the reference", ratio, 1.0, "x", note=note)


def table(found: list[Bar]) -> str:
    """Lays the bars out, the missed ones first."""
    order = {"missed": 0, "not measured": 1, "reached": 2}
    rows = sorted(found, key=lambda bar: order[bar.verdict])
    width = max((len(bar.what) for bar in rows), default=0)
    lines = [
        f"{bar.verdict:12} {bar.what:{width}} {'-' if bar.measured is None else f'{bar.measured:.1f}':>7}{bar.unit:1} "
        f"{'<=' if bar.at_most else '>='} {bar.wanted:g}{bar.unit}  {bar.note}".rstrip()
        for bar in rows
    ]
    counts = {verdict: sum(bar.verdict == verdict for bar in found) for verdict in order}
    return "\n".join([*lines, ", ".join(f"{count} {verdict}" for verdict, count in counts.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="A file of results of gpu_operators.py.")
    path = parser.parse_args().file
    results = json.loads(path.read_text())
    found = bars(results)
    rows = [asdict(bar) | {"verdict": bar.verdict} for bar in found]
    kept = {key: results[key] for key in ("command", "commit", "date", "device", "torch", "cuda", "timing")}
    path.with_name("bars.json").write_text(json.dumps(kept | {"bars": rows}, indent=1) + "\n")
    # A table needs ours in every case; where it failed there is none.
    complete = [row for case in plot_results.by_case(results).values() if "ours" in case for row in case.values()]
    path.with_name("table.md").write_text(plot_results.table(results | {"rows": complete}) + "\n")
    print(plot_results.provenance(results))
    for failure in results["failures"][:SHOWN_FAILURES]:
        print(f"FAILED {failure['task']}: {' '.join(failure['error'].split())[:150]}")
    if results["failures"]:
        print(f"{len(results['failures'])} measurements failed")
    if results["left_out"]:
        print(f"{results['left_out']} measurements left out for want of time")
    print(table(found))


if __name__ == "__main__":
    main()
