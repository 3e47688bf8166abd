"""Says which of the bars that the operators have to clear on a GPU they clear, from a file of results.

    python bench/gpu_bars.py OUT/operators-DEVICE.json      prints a table, writes OUT/bars.json and OUT/table.md

Beside other ways the smaller of two ratios counts: that of the GPU's own times, and that of whole calls.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import report

Row = dict[str, Any]
Case = dict[str, Row]
MOST_LAUNCHES = 3
OF_BANDWIDTH = {"read": 0.80, "step + backward": 0.70}
# At least so many times faster than another way, at these batch sizes.
FASTER = [
    ("read", (1, 4), "reference", 8.0),
    ("read", (1, 4), "compiled", 3.0),
    ("step + backward", (4,), "published", 30.0),
    ("step + backward", (4,), "compiled", 5.0),
]
LARGE_BATCH = 64


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
    """Gives every bar."""
    cases = report.by_case(results)
    found = list(_bandwidth(cases))
    for work, batches, other, wanted in FASTER:
        found += _faster(cases, work, batches, other, wanted)
    found += _launches(results)
    found += _sizes(results)
    return found


def _bandwidth(cases: dict[tuple[Any, ...], Case]) -> Iterator[Bar]:
    for (work, dtype, layout, B, _), case in sorted(cases.items()):
        if work not in OF_BANDWIDTH or B < LARGE_BATCH:
            continue
        share, note = None, ""
        if {"ours", "copy"} <= case.keys():
            share = 100 * case["copy"]["median_ms"] / case["ours"]["median_ms"]
            note = f"{_rate(case['ours']):.0f} of {_rate(case['copy']):.0f} GB/s"
        yield Bar(f"{work}, B = {B}, {dtype}, {layout}: of a copy", share, 100 * OF_BANDWIDTH[work], "%", note=note)


def _rate(row: Row) -> float:
    return float(row["bytes"] / row["median_ms"] / 1e6)


def _faster(
    cases: dict[tuple[Any, ...], Case], work: str, batches: tuple[int, ...], other: str, wanted: float
) -> Iterator[Bar]:
    for (found, dtype, layout, B, _), case in sorted(cases.items()):
        if found != work or B not in batches:
            continue
        ratio, note = None, ""
        if {"ours", other} <= case.keys():
            device, call = (case[other][key] / case["ours"][key] for key in ("median_ms", "call_ms"))
            ratio, note = min(device, call), f"GPU {device:.1f}x, call {call:.1f}x"
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
        ratio = None
        if {"ours", "reference"} <= case.keys():
            ratio = case["reference"]["median_ms"] / case["ours"]["median_ms"]
        yield Bar(f"{work}, C = {C}, M = {M}, {layout}: no slower than the reference", ratio, 1.0, "x")


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
    path.with_name("table.md").write_text(report.table(results) + "\n")
    print(table(found))
    if results["left_out"]:
        print(f"{results['left_out']} measurements left out for want of time")
    print(report.provenance(results))


if __name__ == "__main__":
    main()
