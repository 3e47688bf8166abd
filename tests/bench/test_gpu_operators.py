"""What is measured on a GPU, tried out on a CPU; and, on a GPU, the launches of a forward pass."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest


def row(work: str, contender: str, ms: float, B: int = 64, **more: Any) -> dict[str, Any]:
    case = {"work": work, "B": B, "C": 512, "layout": "contiguous", "dtype": "float32", "M": 10}
    return (
        case
        | {"contender": contender, "median_ms": ms, "call_ms": ms, "bytes": 3e8, "flops": 1e9, "error": None}
        | more
    )


def results(**lists: Any) -> dict[str, Any]:
    keys = ("command", "commit", "date", "device", "torch", "cuda", "timing", "threads")
    return dict.fromkeys(keys, "x") | {"rows": [], "sizes": [], "launches": {}, "left_out": 0} | lists


@pytest.mark.parametrize(("copy_ms", "verdict"), [(0.80, "reached"), (0.79, "missed")])
def test_a_share_of_the_bandwidth(copy_ms: float, verdict: str, bench: Path) -> None:
    bars = importlib.import_module("gpu_bars").bars
    (bar,) = bars(results(rows=[row("read", "ours", 1.0), row("read", "copy", copy_ms)]))
    assert (bar.measured, bar.wanted, bar.verdict) == (pytest.approx(100 * copy_ms), 80, verdict)
    assert bar.note == f"300 of {300 / copy_ms:.0f} GB/s"


def test_the_smaller_of_two_ratios_counts(bench: Path) -> None:
    bars = importlib.import_module("gpu_bars").bars
    rows = [row("step + backward", "ours", 1.0, B=4), row("step + backward", "published", 31.0, B=4, call_ms=29.0)]
    found = {bar.what.split()[-1]: bar for bar in bars(results(rows=rows))}
    assert (found["published"].measured, found["published"].verdict) == (29, "missed")
    assert found["published"].note == "GPU 31.0x, call 29.0x"
    assert (found["compiled"].measured, found["compiled"].verdict) == (None, "not measured")


def test_launches_and_cliffs(bench: Path) -> None:
    bars = importlib.import_module("gpu_bars").bars
    sizes = [row("read", "ours", 2.0, M=1024), row("read", "reference", 1.9, M=1024)]
    found = bars(results(launches={"read": ["a"], "module": ["a", "b", "c", "d"]}, sizes=sizes))
    assert [(bar.measured, bar.verdict) for bar in found] == [(1, "reached"), (4, "missed"), (0.95, "missed")]


def test_the_table_begins_with_what_is_missed(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    module = importlib.import_module("gpu_bars")
    rows = [row("read", "ours", 1.0), row("read", "copy", 0.9), row("read", "ours", 1.0, B=4)]
    (tmp_path / "operators-x.json").write_text(json.dumps(results(rows=rows, left_out=7)))
    monkeypatch.setattr("sys.argv", ["gpu_bars.py", str(tmp_path / "operators-x.json")])
    module.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("not measured read, B = 4, float32, contiguous: faster than")
    assert lines[2].startswith("reached      read, B = 64, float32, contiguous: of a copy")
    assert lines[3:5] == ["0 missed, 2 not measured, 1 reached", "7 measurements left out for want of time"]
    stored = json.loads((tmp_path / "bars.json").read_text())["bars"]
    assert sorted(bar["verdict"] for bar in stored) == ["not measured", "not measured", "reached"]
    assert (tmp_path / "table.md").read_text().startswith("| work |")


def test_a_run_without_a_gpu(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("gpu_operators")
    monkeypatch.setattr(module, "ON_GPU", False)
    monkeypatch.setattr(module, "DEVICE", module.torch.device("cpu"))
    monkeypatch.setattr(module, "BATCHES", (1,))
    monkeypatch.setattr(module, "SIZES", [(1, 64, 10)])
    refused = module.WORKS["read"] | {"attention": _refuse}
    monkeypatch.setitem(module.WORKS, "read", refused)
    found = module.results()
    module.measure(found, tmp_path / "operators.json", seconds=300)
    stored = json.loads((tmp_path / "operators.json").read_text())
    assert stored == found
    assert stored["left_out"] == 0
    assert [failure["error"] for failure in stored["failures"]] == ["not on this machine"]
    contenders = [(row["work"], row["contender"]) for row in stored["rows"]]
    assert len(contenders) == len(set(contenders)) == 11
    assert all(row["error"] < 1e-4 for row in stored["rows"] if row["contender"] == "ours")
    assert {row["C"] for row in stored["sizes"]} == {64}


def _refuse(*_: object) -> tuple[Any, ...]:
    raise RuntimeError("not on this machine")


@pytest.mark.cuda
def test_a_forward_pass_launches_three_kernels_at_most(bench: Path) -> None:
    launches = importlib.import_module("gpu_operators").launches()
    assert launches.keys() == {"memory_read", "MemoryModule, training"}
    for name, kernels in launches.items():
        assert 1 <= len(kernels) <= 3, (name, kernels)
        assert all("mnad" in kernel for kernel in kernels), (name, kernels)
