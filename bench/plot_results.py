"""Turns a run of the benchmarks into small JSON files, tables and the README's chart.

python bench/plot_results.py RAW.json RESULTS   writes RESULTS/PART-DEVICE.json for each part (operators, data,
                                                networks) and prints its table
python bench/plot_results.py --draw FILE.json   draws FILE.svg from such a file
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

Row = dict[str, Any]
CASE = ("work", "dtype", "layout", "B", "M")
OTHERS = ("reference", "compiled", "published", "attention", "copy")


def compact(raw: dict[str, Any], command: str) -> dict[str, dict[str, Any]]:
    """Keeps what a reader wants to know of pytest-benchmark's file, by part of the project."""
    sittings: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for entry in raw["benchmarks"]:
        row = entry["extra_info"] | {"median_ms": 1e3 * entry["stats"]["median"], "rounds": entry["stats"]["rounds"]}
        sittings[tuple(row.get(key) for key in ("part", *CASE, "contender", "way"))].append(row)
    rows = [merged(rows) for rows in sittings.values()]
    common = {
        "command": command,
        "commit": raw["commit_info"]["id"] + ("-dirty" if raw["commit_info"]["dirty"] else ""),
        "date": raw["datetime"],
        "device": device_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        parts[row.pop("part", "operators")].append(row)
    return {part: common | {"rows": rows} for part, rows in parts.items()}


def merged(sittings: list[Row]) -> Row:
    """Makes one row of a contender's sittings: the median of their medians."""
    medians = [row["median_ms"] for row in sittings]
    return sittings[0] | {
        "median_ms": round(statistics.median(medians), 4),
        "rounds": sum(row["rounds"] for row in sittings),
    }


def device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = found.group(1) if found else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


def by_case(results: dict[str, Any]) -> dict[tuple[Any, ...], dict[str, Row]]:
    cases: dict[tuple[Any, ...], dict[str, Row]] = defaultdict(dict)
    for row in results["rows"]:
        cases[tuple(row[key] for key in CASE)][row["contender"]] = row
    return cases


def table(results: dict[str, Any]) -> str:
    """The medians of ours, and how many times longer the others take; for a copy, how many times longer we take."""
    head = [*CASE, "ours, ms", *OTHERS[:-1], "ours / copy", "GB/s", "GFLOP/s", "error"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for case, contenders in by_case(results).items():
        ours = contenders["ours"]
        took = ours["median_ms"]
        cells = [str(part) for part in case] + [f"{took:.3f}"]
        cells += [f"{contenders[name]['median_ms'] / took:.1f}x" if name in contenders else "" for name in OTHERS[:-1]]
        cells.append(f"{took / contenders['copy']['median_ms']:.1f}" if "copy" in contenders else "")
        cells += [f"{ours['bytes'] / took / 1e6:.0f}", f"{ours['flops'] / took / 1e6:.0f}"]
        cells.append("" if ours["error"] is None else f"{ours['error']:.0e}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"C = 512, 32 x 32, medians; {provenance(results)}"])


def speed_table(results: dict[str, Any]) -> str:
    """What each way of doing a work gets done in a second, and how many times longer others take than ours."""
    works: dict[str, list[Row]] = defaultdict(list)
    for row in results["rows"]:
        works[row["work"]].append(row)
    lines = ["| work | way | per second | the memory's share | time |", "|---|---|---|---|---|"]
    for work, rows in works.items():
        ours = rows[0]["median_ms"]
        for row in rows:
            speed = f"{1e3 * row['count'] / row['median_ms']:,.0f} {row['unit']}"
            share = f"{row['memory_ms'] / row['median_ms']:.1%}" if "memory_ms" in row else ""
            lines.append(f"| {work} | {row['way']} | {speed} | {share} | {row['median_ms'] / ours:.1f}x |")
    return "\n".join([*lines, "", f"medians; {provenance(results)}"])


def provenance(results: dict[str, Any]) -> str:
    """Returns where the numbers come from."""
    device = f"{results['device']}; torch {results['torch']}, {results['threads']} threads"
    return f"{device}; commit {results['commit'][:9]}; {results['command']}"


def draw(results: dict[str, Any], path: Path) -> None:
    """Bars of the float32 contiguous case: time of each contender over ours."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "mnad-ext"
    import matplotlib.pyplot as plt

    works = ["read", "read + update", "step + backward"]
    figure, axes = plt.subplots(1, len(works), figsize=(10, 2.6), layout="constrained", sharey=True)
    names = ["ours", "compiled", "reference", "published"]
    colours = ["#1b4f8f", "#8fb3d9", "#b9b9b9", "#7a7a7a"]
    labels = ["mnad_ext", "torch.compile of the reference", "the reference, eager", "the published way"]
    cases = by_case(results)
    for axis, work in zip(axes, works, strict=True):
        for i, (name, colour, label) in enumerate(zip(names, colours, labels, strict=True)):
            for j, B in enumerate((1, 4)):
                contenders = cases[(work, "float32", "contiguous", B, 10)]
                if name not in contenders:
                    continue
                value = contenders[name]["median_ms"]
                bar = axis.bar(j + 0.2 * (i - 1.5), value, 0.2, color=colour, label=label if j == 0 else None)
                axis.bar_label(bar, [f"{value:.2g}" if value < 10 else f"{value:.0f}"], fontsize=7, padding=1)
        axis.set(title=work, yscale="log", xticks=[0, 1], xticklabels=["B = 1", "B = 4"])
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(y=0.15)
    axes[0].set_ylabel("ms (log scale)")
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def name_of_file(device: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="pytest-benchmark's JSON, or with --draw a file of results.")
    parser.add_argument("results", type=Path, nargs="?", help="The folder for the file of results.")
    parser.add_argument("--draw", action="store_true", help="Draw the chart of a file of results.")
    options = parser.parse_args()
    content = json.loads(options.file.read_text())
    if options.draw:
        draw(content, options.file.with_suffix(".svg"))
        return
    for part, results in compact(content, os.environ.get("BENCH_COMMAND", "pytest bench")).items():
        if options.results:
            options.results.mkdir(parents=True, exist_ok=True)
            path = options.results / f"{part}-{name_of_file(results['device'])}.json"
            path.write_text(json.dumps(results, indent=1) + "\n")
            print(f"wrote {path}")
        print(table(results) if part == "operators" else speed_table(results), end="\n\n")


if __name__ == "__main__":
    main()
