"""How far the CPU kernels are from what this machine can do at all: python bench/roofline/roofline.py [RESULTS].

For a read, and for a step with its backward pass, at the published shape: the time that the multiply-adds with the
items take at this machine's peak, that a copy of as many bytes takes and that what is written takes alone, all measured
in the same run, and how many instructions there are (callgrind's count for AVX2, as it has no AVX-512). RESULTS is a
folder for the JSON file.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ninja
import torch
from mnad.runtime.provenance import source_commit
from ninja.ninja_syntax import Writer
from torch import Tensor

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "build" / "roofline"
ROOFS, PASSES = FOLDER / "roofs", FOLDER / "passes"
sys.path[:0] = [str(ROOT / "build_tools"), str(HERE.parent)]

from bench_operators import PUBLISHED_ITEMS, C, H, W, least_bytes, operands  # noqa: E402
from ninja_build import cpu_sources, tile_kernels  # noqa: E402
from plot_results import device_name, name_of_file  # noqa: E402

# The works, and how many times as much as the features each writes.
WRITTEN_MAPS = {"read": 2, "step + backward": 3}
BATCHES = (1, 4)
SECONDS = 2.0


def build() -> None:
    """Compiles both programs: one for this machine, one that chooses among the kernels of all instruction sets."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "build.ninja").open("w") as file:
        writer = Writer(file)
        compiler = f"g++ -std=c++20 -O3 -g -DNDEBUG -I{ROOT / 'csrc'} -MMD -MF $out.d"
        writer.rule("compile", f"{compiler} $extra -c $in -o $out", depfile="$out.d", deps="gcc")
        writer.rule("link", "g++ $in -lpthread -o $out")

        def compiled(source: Path, name: str, extra: str = "") -> str:
            target = str(FOLDER / f"{name}.o")
            writer.build(target, "compile", str(source), variables={"extra": extra})
            return target

        writer.build(
            str(ROOFS), "link", [compiled(HERE / "roofs.cpp", "roofs", "-march=native -DMNAD_ISA=native -Wno-psabi")]
        )
        kernels = [compiled(ROOT / source, f"{source.stem}.{name}", flags) for source, name, flags in tile_kernels()]
        common = [compiled(ROOT / source, source.stem) for source in cpu_sources()]
        writer.build(str(PASSES), "link", [compiled(HERE / "passes.cpp", "passes"), *common, *kernels])
    command = [str(Path(ninja.BIN_DIR) / "ninja"), "--quiet", "-f", str(FOLDER / "build.ninja")]
    subprocess.run(command, check=True)


def roofs() -> dict[str, Any]:
    """Returns multiply-adds in FLOP/s, bytes/s written past the caches, and copied in and past them by size in MiB."""
    found: dict[str, Any] = json.loads(subprocess.run([ROOFS], check=True, capture_output=True, text=True).stdout)
    return found


def instructions(work: str, B: int) -> int | None:
    """Counts the instructions of one pass on one thread, or gives None where there is no valgrind."""
    if shutil.which("valgrind") is None:
        return None

    def count(times: int) -> int:
        valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        command = [*valgrind, str(PASSES), work.split()[0], str(B), str(times)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stderr
        found = re.search(r"Collected : (\d+)", printed)
        assert found is not None, printed
        return int(found.group(1))

    return count(2) - count(1)


def operation(work: str, features: Tensor, items: Tensor) -> Callable[[], object]:
    """Returns the call of the operators that does the work."""
    if work == "read":
        return lambda: torch.ops.mnad.memory_read(features, items)
    B = features.shape[0]
    grad_output = torch.randn(B, 2 * C, H, W)
    grad_loss = torch.full((B,), 0.1 / B)
    wanted = {"grad_through_weights": False, "wants_features": True, "wants_items": False}

    def step() -> object:
        per_query = torch.ops.mnad.memory_step(features, items)[1:5]
        grads = (grad_output, None, grad_loss, grad_loss)
        return torch.ops.mnad.memory_backward(*grads, features, items, *per_query, **wanted)

    return step


def median_ms(run: Callable[[], object]) -> float:
    """Returns the median time of a call."""
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        began = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def measure() -> dict[str, Any]:
    """Measures roofs and works."""
    build()
    found = roofs()
    rows = []
    for work, written in WRITTEN_MAPS.items():
        for B in BATCHES:
            features, items = operands(B, "contiguous", "float32", PUBLISHED_ITEMS)
            flops, size = 4 * features.numel() * PUBLISHED_ITEMS, least_bytes(work, features)
            nearest = min(found["copied"], key=lambda megabytes: abs(int(megabytes) * 2**20 - size))
            rows.append(
                {
                    "work": work,
                    "B": B,
                    "median_ms": median_ms(operation(work, features, items)),
                    "multiply_add_ms": 1e3 * flops / found["multiply_add"],
                    "copied_ms": 1e3 * size / found["copied"][nearest],
                    "streamed_ms": 1e3 * size / found["streamed"][nearest],
                    "written_ms": 1e3 * written * features.numel() * 4 / found["written"],
                    "avx2_instructions": instructions(work, B),
                    "avx2_multiply_adds": flops // 16,
                }
            )
    return {
        "command": "python bench/roofline/roofline.py",
        "commit": source_commit(),
        "device": device_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "roofs": found,
        "rows": rows,
    }


def table(results: dict[str, Any]) -> str:
    """Shows the works beside their roofs."""
    head = (
        "| work | B | ours, ms | multiply-adds, ms | copy, ms | copy past the caches, ms | writes past them, ms "
        "| AVX2 instructions |"
    )
    lines = [head, "|---" * head.count("| ") + "|"]
    for row in results["rows"]:
        counted = row["avx2_instructions"]
        share = f"{counted / 1e6:.2f} M, {row['avx2_multiply_adds'] / counted:.0%} multiply-adds" if counted else ""
        names = ("median_ms", "multiply_add_ms", "copied_ms", "streamed_ms", "written_ms")
        times = (row[name] for name in names)
        lines.append("| " + " | ".join([row["work"], str(row["B"]), *(f"{ms:.3f}" for ms in times), share]) + " |")
    peak = results["roofs"]["multiply_add"] / 1e9
    return "\n".join([*lines, "", f"peak {peak:.0f} GFLOP/s; {results['device']}; commit {results['commit'][:9]}"])


def main() -> None:
    results = measure()
    if len(sys.argv) > 1:
        path = Path(sys.argv[1]) / f"roofline-{name_of_file(results['device'])}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(f"wrote {path}")
    print(table(results))


if __name__ == "__main__":
    main()
