"""The recorded results can be read, shown as a table and drawn, and the README shows what they say."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "bench" / "results").glob("operators-*.json"))
SPEED_PARTS = ("data", "networks", "scoring")
SPEED_RESULTS = [path for part in SPEED_PARTS for path in sorted((ROOT / "bench" / "results").glob(f"{part}-*.json"))]


@pytest.fixture(scope="module")
def plot_results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plot_results", ROOT / "bench" / "plot_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_results() -> None:
    assert RESULTS
    assert len(SPEED_RESULTS) >= len(SPEED_PARTS)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_table_and_chart(plot_results: ModuleType, path: Path, tmp_path: Path) -> None:
    results = json.loads(path.read_text())
    table = plot_results.table(results).splitlines()
    assert len(table) == 2 + len(plot_results.by_case(results)) + 2
    assert results["commit"][:9] in table[-1]
    plot_results.draw(results, tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("path", SPEED_RESULTS, ids=lambda path: path.stem)
def test_speed_table(plot_results: ModuleType, path: Path) -> None:
    results = json.loads(path.read_text())
    rows = plot_results.speed_table(results).splitlines()[2:-2]
    assert len(rows) == len(results["rows"])
    ratios = [float(row.split("|")[-2].strip(" x")) for row in rows]
    assert ratios.count(1.0) >= len({row["work"] for row in results["rows"]})


def test_a_run_of_the_benchmarks_becomes_a_file_for_each_part(plot_results: ModuleType) -> None:
    raw = {
        "commit_info": {"id": "abc", "dirty": False},
        "datetime": "today",
        "benchmarks": [
            {"extra_info": info, "stats": {"median": 0.5, "rounds": 3}}
            for info in (
                {"contender": "ours"},
                {"part": "data", "work": "w", "way": "a", "count": 80, "unit": "frames"},
            )
        ],
    }
    parts = plot_results.compact(raw, "make bench")
    assert parts.keys() == {"operators", "data"}
    assert "| w | a | 160 frames |  | 1.0x |" in plot_results.speed_table(parts["data"])


def test_what_counts_is_the_median_of_the_sittings(plot_results: ModuleType) -> None:
    raw = {
        "commit_info": {"id": "abc", "dirty": False},
        "datetime": "today",
        "benchmarks": [
            {
                "extra_info": {"contender": "ours", "work": "read", "error": error},
                "stats": {"median": took, "rounds": 5},
            }
            for took, error in [(0.003, 1e-7), (0.001, None), (0.002, None)]
        ],
    }
    (row,) = plot_results.compact(raw, "make bench")["operators"]["rows"]
    assert row == {"contender": "ours", "work": "read", "error": 1e-7, "median_ms": 2.0, "rounds": 15}


def test_the_readme_shows_what_was_measured(plot_results: ModuleType) -> None:
    text = (ROOT / "README.md").read_text()
    (path,) = {ROOT / name for name in re.findall(r"\((bench/results/operators-[^)]*\.json)\)", text)}
    results = json.loads(path.read_text())
    assert results["commit"][:9] in text
    cases = plot_results.by_case(results)
    rows = re.findall(r"^\| (read|read \+ update|step \+ backward), B = (\d+) \|(.*)\|$", text, re.MULTILINE)
    assert len(rows) == 2
    for work, B, cells in rows:
        measured = cases[(work, "float32", "contiguous", int(B), 10)]
        ours = measured["ours"]["median_ms"]
        expected = [f"{ours:.2f} ms"] + [
            f"{measured[name]['median_ms'] / ours:.1f}x" if name in measured else ""
            for name in ("compiled", "reference", "published")
        ]
        assert [cell.strip() for cell in cells.split("|")] == expected
