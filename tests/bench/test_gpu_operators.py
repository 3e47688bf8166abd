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
    return dict.fromkeys(keys, "x") | {"rows": [], "sizes": [], "launches": {}, "left_out": 0, "failures": []} | lists


@pytest.mark.parametrize(
    ("work", "dtype", "wanted"),
    [
        ("read", "float32", 80),
        ("read", "bfloat16", 60),
        ("step + backward", "float32", 60),
        ("step + backward", "bfloat16", 60),
    ],
)
def test_a_share_of_the_bandwidth(work: str, dtype: str, wanted: float, bench: Path) -> None:
    bars = importlib.import_module("gpu_bars").bars
    for copy_ms, verdict in ((wanted / 100, "reached"), (wanted / 100 - 0.01, "missed")):
        rows = [row(work, name, ms, dtype=dtype) for name, ms in (("ours", 1.0), ("copy", copy_ms))]
        (bar,) = bars(results(rows=rows))
        assert (bar.measured, bar.wanted, bar.verdict) == (pytest.approx(100 * copy_ms), wanted, verdict)
        assert bar.note == f"by call: 300 of {300 / copy_ms:.0f} GB/s"


def test_ours_is_judged_by_its_graph(bench: Path) -> None:
    bars = importlib.import_module("gpu_bars").bars
    read = [row("read", "ours", 2.0, graph_ms=1.0), row("read", "copy", 0.9)]
    (bar,) = bars(results(rows=read))
    assert (bar.measured, bar.verdict, bar.note) == (pytest.approx(90), "reached", "by graph: 300 of 333 GB/s")
    step = [row("step + backward", "ours", 1.5, B=4, graph_ms=0.5), row("step + backward", "published", 16.0, B=4)]
    found = {bar.what.split()[-1]: bar for bar in bars(results(rows=step))}
    assert (found["published"].measured, found["published"].verdict) == (32, "reached")
    assert found["published"].note == "ours by graph; whole calls 10.7x"
    assert (found["compiled"].measured, found["compiled"].verdict) == (None, "not measured")


@pytest.mark.parametrize(
    ("graph", "measured", "verdict"),
    [({"graph_ms": 0.04}, 40, "reached"), ({"graph_ms": 0.041}, 41, "missed"), ({}, None, "not measured")],
)
def test_microseconds_of_a_small_step(
    graph: dict[str, float], measured: float | None, verdict: str, bench: Path
) -> None:
    bars = importlib.import_module("gpu_bars").bars
    found = bars(results(rows=[row("step + backward", "ours", 0.06, B=4, call_ms=0.2, **graph)]))
    (bar,) = (bar for bar in found if bar.unit == "us")
    assert (bar.measured, bar.verdict) == (pytest.approx(measured), verdict)
    assert bar.note == ("by graph; by call 60 us, whole calls 200 us" if graph else "")


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
    rows.append(row("step + backward", "copy", 0.9))  # ours failed
    failures = [{"task": "('step + backward', 'ours')", "error": "no\nsuch kernel"}]
    found = results(rows=rows, left_out=7, failures=failures)
    (tmp_path / "operators-x.json").write_text(json.dumps(found))
    monkeypatch.setattr("sys.argv", ["gpu_bars.py", str(tmp_path / "operators-x.json")])
    module.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "FAILED ('step + backward', 'ours'): no such kernel",
        "1 measurements failed",
        "7 measurements left out for want of time",
    ]
    assert lines[4].startswith("not measured step + backward, B = 64, float32, contiguous: of a copy")
    assert lines[5].startswith("not measured read, B = 4, float32, contiguous: faster than")
    assert lines[7].startswith("reached      read, B = 64, float32, contiguous: of a copy")
    assert lines[8:] == ["0 missed, 3 not measured, 1 reached"]
    stored = json.loads((tmp_path / "bars.json").read_text())["bars"]
    assert sorted(bar["verdict"] for bar in stored) == [*["not measured"] * 3, "reached"]
    assert len((tmp_path / "table.md").read_text().splitlines()) == 2 + 2 + 2


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


def test_what_the_bars_need_is_measured_first(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, bars = importlib.import_module("gpu_operators"), importlib.import_module("gpu_bars")
    monkeypatch.setattr(module, "ON_GPU", True)
    monkeypatch.setattr(module, "BATCHES", (4, 64, 1, 16, 256))
    order = [(kind, *task.args[:3]) for kind, task in module.tasks()]
    needed = [
        number
        for number, (kind, work, name, B) in enumerate(order)
        if kind == "sizes"
        or (work in module.MAIN and name in {"ours", "copy"})
        or any((work, name) == (of, other) and B in batches for of, batches, other, _ in bars.FASTER)
    ]
    first_of_the_rest = next(number for number, (_, work, *_) in enumerate(order) if work == "read + update")
    assert max(needed) < first_of_the_rest
    assert [B for _, _, name, B in order[: max(needed)] if name == "compiled"] == [4] * 8 + [1] * 8
    assert len(set(map(repr, (task.args for _, task in module.tasks())))) == len(order)


@pytest.mark.parametrize("work", ["read", "step + backward"])
@pytest.mark.parametrize("B", [1, 16])
def test_ours_is_timed_by_graph_and_by_call(work: str, B: int, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("gpu_operators")
    monkeypatch.setattr(module, "ON_GPU", True)
    monkeypatch.setattr(module, "DEVICE", module.torch.device("cpu"))
    monkeypatch.setattr(module, "graphed", lambda run: run)
    watch = module.Stopwatch(module.DEVICE, seconds=0.01)
    for name in ("ours", "reference", "copy"):
        found = module.row(work, name, B, 64, 10, "bfloat16", "channels-last", watch)
        names = {"median_ms", "call_ms", "graph_ms", "graph_call_ms"} & found.keys()
        assert names == {"median_ms", "call_ms"} | ({"graph_ms", "graph_call_ms"} if name == "ours" else set())
    assert "graph_ms" in module.TIMING


def test_a_benchmark_that_is_ended_leaves_what_it_measured(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("gpu_operators")
    monkeypatch.setattr(module, "ON_GPU", False)
    monkeypatch.setattr(module, "tasks", lambda: iter([("rows", lambda _: {"x": 1}), ("rows", _interrupt)]))
    with pytest.raises(KeyboardInterrupt):
        module.measure(module.results(), tmp_path / "operators.json", seconds=300)
    stored = json.loads((tmp_path / "operators.json").read_text())
    assert (stored["rows"], stored["left_out"]) == ([{"x": 1}], 1)
    assert importlib.import_module("gpu_bars").bars(stored | {"rows": []}) == []


def test_a_small_case_that_is_wrong_is_told_of(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module("small_cases")
    shape = (2, 7, 3, 5, 2)
    monkeypatch.setitem(module.CASES, "two", [(shape, module.torch.float32, "contiguous")])
    monkeypatch.setattr("sys.argv", ["small_cases.py", "--cases", "two"])
    assert module.main() == 0
    step = module.mnad_ext.memory_step
    wrong = lambda *args, **options: step(*args, **options)._replace(separateness=module.torch.ones(2) / 3)  # noqa: E731
    monkeypatch.setattr(module.mnad_ext, "memory_step", wrong)
    monkeypatch.setattr(module.torch.autograd, "backward", lambda *_: None)
    assert module.main() == 1
    assert "not what the reference gives: ((2, 7, 3, 5, 2), torch.float32, 'contiguous')" in capsys.readouterr().out


def _interrupt(*_: object) -> dict[str, Any]:
    raise KeyboardInterrupt


def _refuse(*_: object) -> tuple[Any, ...]:
    raise RuntimeError("not on this machine")


@pytest.mark.cuda
def test_a_forward_pass_launches_three_kernels_at_most(bench: Path) -> None:
    launches = importlib.import_module("gpu_operators").launches()
    assert launches.keys() == {"memory_read", "MemoryModule, training"}
    for name, kernels in launches.items():
        assert 1 <= len(kernels) <= 3, (name, kernels)
        assert all("mnad" in kernel for kernel in kernels), (name, kernels)
