"""Plans of passes for an H100 keep what the kernels count on, and the model of their speed cannot silently go stale."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

COMPILED = Path(__file__).parents[2] / "build" / "cuda-check"
DTYPES = ("float32", "float64", "bfloat16", "float16")
LAYOUTS = ("contiguous", "channels-last")
WORKS = ("read", "step", "backward", "backward+items")
SOURCES = Path(__file__).parents[2] / "csrc" / "cuda"
NO_HEADERS = shutil.which("nvcc") is None
needs_headers = pytest.mark.skipif(NO_HEADERS, reason="there is no nvcc, whose headers the plan needs")


def are_compiled() -> bool:
    """Whether there are kernels of the sources as they are."""
    compiled = [next((COMPILED / source).glob("*_90.cubin"), None) for source in ("forward", "backward")]
    changed = max(path.stat().st_mtime for path in SOURCES.iterdir())
    return all(path is not None and path.stat().st_mtime > changed for path in compiled)


needs_kernels = pytest.mark.skipif(NO_HEADERS or not are_compiled(), reason="no kernels are compiled: make cuda")

# What the loops of a read execute: of a tile of 32 positions of 512 float32 channels.
LOOPS = {
    "load": {"LDG.128": 8, "STS.128": 8},
    "products": {"FFMA": 44, "LDS.128": 3, "LDS.64": 1},
    "weights": {"LDS.32": 4, "STG.128": 1},
    "output": {"FFMA": 40, "FMUL": 4, "LDS.128": 3, "LDS.64": 1, "SHFL": 8, "STG.128": 2},
}
BETWEEN = 100  # instructions


@pytest.fixture
def model(bench: Path) -> ModuleType:
    return importlib.import_module("gpu_model")


@pytest.fixture
def case(model: ModuleType) -> Any:
    return model.Case("read", "float32", "contiguous", 64, 512, 1024, 10)


@pytest.fixture
def plan(model: ModuleType) -> Any:
    return model.Plan(32, 98000, 0, 0, False, 264, 32, True)


def body(bench: Path, loops: dict[str, dict[str, int]], barriers: int = 6) -> Any:
    """A kernel with these loops, of 50 instructions each, in the loop over tiles."""
    sass = importlib.import_module("sass")
    inner = [sass.Loop(50, 0, counts, 2, 16 * i, frozenset({i})) for i, counts in enumerate(loops.values(), 1)]
    counts: dict[str, int] = {"BAR": barriers}
    for loop in inner:
        for kind, count in loop.counts.items():
            counts[kind] = counts.get(kind, 0) + count
    tiles = sass.Loop(BETWEEN + 50 * len(inner), 0, counts, 1, 0, frozenset(range(len(inner) + 1)))
    return sass.Body(tiles.instructions, 0, counts, [*inner, tiles])


def planned(model: ModuleType, *cases: tuple[str, str, str, int, int, int, int]) -> list[Any]:
    return list(model.plans("h100", [model.Case(*one) for one in cases]))


@needs_headers
@pytest.mark.parametrize("work", WORKS)
def test_there_are_two_blocks_on_a_multiprocessor(model: ModuleType, work: str) -> None:
    cases = [(work, *one, 512, 1024, 10) for one in product(DTYPES, LAYOUTS, (1, 4, 16, 256))]
    for one, plan in zip(cases, planned(model, *cases), strict=True):
        assert plan.fast, one
        assert plan.chunks <= 2 * 132, one
        blocks = 1 if "float64" in one else 2  # maps of double need too much
        assert blocks * (plan.shared_bytes + 1024) <= 228 << 10, one


@needs_headers
@pytest.mark.parametrize("work", WORKS)
def test_rows_of_contiguous_tiles_fill_sectors(model: ModuleType, work: str) -> None:
    cases = [(work, dtype, "contiguous", B, 512, 1024, 10) for dtype in DTYPES for B in (1, 64)]
    for (_, dtype, *_), plan in zip(cases, planned(model, *cases), strict=True):
        assert plan.tile * model.BYTES[dtype] >= 32


@needs_headers
def test_one_sample_is_enough_for_all_multiprocessors(model: ModuleType) -> None:
    cases = [(work, "float32", layout, 1, 512, 1024, 10) for work in WORKS for layout in LAYOUTS]
    assert all(plan.chunks >= 120 for plan in planned(model, *cases))


@needs_headers
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reads_of_many_samples_have_the_largest_tile(model: ModuleType, dtype: str) -> None:
    cases = [("read", dtype, layout, B, 512, 1024, 10) for layout in LAYOUTS for B in (16, 64, 256)]
    assert [plan.tile for plan in planned(model, *cases)] == [32] * len(cases)


@needs_headers
def test_scratch_memory_is_bounded(model: ModuleType) -> None:
    (plan,) = planned(model, ("step", "float32", "contiguous", 256, 512, 1024, 1024))
    assert plan.scratch_bytes <= 160 << 20


@needs_headers
def test_the_smallest_shapes_have_plans(model: ModuleType) -> None:
    one = ("read", "float32", "contiguous", 1, 1, 1, 1)
    none = ("read", "float32", "contiguous", 0, 512, 1024, 10)
    assert [plan.chunks for plan in planned(model, one, none)] == [1, 0]


def test_loops_count_as_often_as_they_run(model: ModuleType, bench: Path, case: Any, plan: Any) -> None:
    cost = model.tile_cost(body(bench, LOOPS), case, plan)
    # 64 elements a thread: 16 packs to load, 11 and 10 multiply-adds an element, 80 packs of weights for 256 threads.
    assert cost.instructions == BETWEEN + 50 * (2 + 16 + 1 + 16)
    assert cost.between == BETWEEN
    assert cost.madds == 64 * (11 + 10)
    assert cost.shared == 2 * 8 * 4 + 16 * 14 + 4 + 16 * 14
    assert cost.wide == 2 * 8 + 1 + 16 * 2
    assert cost.barriers == 4


def test_a_large_read_is_limited_by_memory(model: ModuleType, bench: Path, case: Any, plan: Any) -> None:
    cost = model.tile_cost(body(bench, LOOPS), case, plan)
    found = model.predict(case, plan, cost, "h100")
    assert found.limit == "memory"
    assert 0.9 < found.share < 1
    assert model.predict(case, plan, cost, "h200").seconds < found.seconds
    slow = model.replace(cost, instructions=20 * cost.instructions)
    assert model.predict(case, plan, slow, "h100").limit == "issue"


def test_a_loop_that_is_not_known_is_named(model: ModuleType, bench: Path, case: Any, plan: Any) -> None:
    unknown = LOOPS | {"new": {"ATOMS": 1, "LDS.32": 3}}
    with pytest.raises(ValueError, match=r"loop at 0x50 looks like no phase: .*ATOMS"):
        model.tile_cost(body(bench, unknown), case, plan)


@pytest.mark.parametrize("missing", LOOPS)
def test_a_phase_without_a_loop_is_named(model: ModuleType, bench: Path, case: Any, plan: Any, missing: str) -> None:
    left = {name: counts for name, counts in LOOPS.items() if name != missing}
    with pytest.raises(ValueError, match=f"read needs 1 loops of the phase {missing}"):
        model.tile_cost(body(bench, left), case, plan)


def test_other_barriers_are_not_known(model: ModuleType, bench: Path, case: Any, plan: Any) -> None:
    with pytest.raises(ValueError, match="5 barriers"):
        model.tile_cost(body(bench, LOOPS, barriers=5), case, plan)


def test_without_compiled_kernels_it_says_how_to_get_them(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(model, "COMPILED", tmp_path)
    model.bodies.cache_clear()
    with pytest.raises(ValueError, match="make cuda"):
        model.bodies("forward")


@needs_kernels
def test_every_case_of_the_benchmark_has_a_prediction(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With a made-up file of results whose share of 25 % stands beside the prediction."""
    row: dict[str, Any] = {
        "work": "step + backward",
        "B": 4,
        "C": 512,
        "M": 10,
        "dtype": "float32",
        "layout": "contiguous",
    }
    ours = {"contender": "ours", "median_ms": 9.0, "graph_ms": 4.0}
    found = {"rows": [row | ours, row | {"contender": "copy", "median_ms": 1.0}]}
    results = tmp_path / "operators.json"
    results.write_text(json.dumps(found))
    monkeypatch.setattr(sys, "argv", ["gpu_model.py", "--measured", str(results), "--batch", "1", "4", "64"])
    model.main()
    lines = capsys.readouterr().out.splitlines()
    assert "predicted, not measured" in lines[0]
    shown = [line.split() for line in lines if "float32" in line or "bfloat16" in line]
    assert len(shown) == 4 * 2 * 2 * 3
    assert all(line[-2].endswith("%") for line in shown)
    expected = [*row["work"].split(), "float32", "contiguous", "4"]
    assert [line[-1] for line in shown if line[:6] == expected] == ["25%"]


@needs_kernels
@pytest.mark.parametrize("shape", [(512, 1024, 30), (129, 129, 7), (512, 1024, 10)], ids=str)
def test_every_kernel_has_a_prediction(
    model: ModuleType, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    channels, positions, items = map(str, shape)
    command = ["gpu_model.py", "--channels", channels, "--positions", positions, "--items", items, "--batch", "1", "3"]
    command += ["--work", "read", "step", "backward", "backward+items", "--dtype", *model.TYPES]
    monkeypatch.setattr(sys, "argv", command)
    model.main()
    shares = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.rstrip().endswith("%")]
    assert len(shares) == 4 * 4 * 2 * 2
    assert all(0 < int(share.rstrip("%")) < 100 for share in shares)


@needs_kernels
@pytest.mark.parametrize(("items", "blocks"), [(10, 1), (11, 2), (64, 7)])
def test_the_multiply_adds_of_a_read_follow_the_items(model: ModuleType, items: int, blocks: int) -> None:
    """Ten items and the square for the products, ten for the readout; what lies between is small beside them."""
    case = model.Case("read", "float32", "contiguous", 64, 512, 1024, items)
    (plan,) = model.plans("h100", [case])
    cost = model.tile_cost(model.body_of(case, plan), case, plan)
    assert cost.madds * model.THREADS / plan.tile == pytest.approx(21 * 512 * blocks, rel=0.1)
    assert cost.barriers == (4 if items <= 10 else 2 * blocks + 2)
