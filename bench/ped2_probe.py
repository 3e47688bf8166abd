"""How fast is a training step on UCSD Ped2, what does it consist of, how fast is scoring: two minutes on a GPU.

    bash bench/ped2_gpu.sh --probe DATA OUT

OUT/probe.json gets each figure as soon as it is measured. Samples per second are those of the whole training loop over
an epoch, reading the frames included; the plain way is the loop of the published code on the reference's memory:
float32, contiguous, eager, frames from the host.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mnad.artifacts.curves import read_curves
from mnad.data import Batches, ShuffledBatches, Windows, open_clips, to_frames
from mnad.measuring import Precision, measure
from mnad.runtime.files import atomic_write
from mnad.training import TrainConfig, train
from mnad.training.losses import LossWeights, losses_of
from networks import DEVICE, build
from ped2_gpu import surroundings
from torch.profiler import ProfilerActivity, profile

PLAIN = "float32, eager, as published"
WAYS: dict[str, dict[str, Any]] = {
    "float32, eager": {},
    "bf16-mixed, eager": {"precision": "bf16-mixed"},
    "bf16-mixed, compiled": {"precision": "bf16-mixed", "compile": True},
}
GRAPHED: dict[str, dict[str, Any]] = {
    "bf16-mixed, CUDA graph": {"precision": "bf16-mixed", "cuda_graphs": True},
    "bf16-mixed, compiled, CUDA graph": {"precision": "bf16-mixed", "compile": True, "cuda_graphs": True},
    "float32, compiled, CUDA graph": {"compile": True, "cuda_graphs": True},
}
# The first is what mnad score does if it is told nothing.
SCORING: list[tuple[Precision, int]] = [("32-true", 8), ("32-true", 32), ("bf16", 8), ("bf16", 32)]
WEIGHTS = LossWeights(0.1, 0.1, 0)
PROFILED_STEPS = 3
KERNELS_SHOWN = 15


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200, help="Of the plain way.")
    options = parser.parse_args(arguments)
    torch.backends.cudnn.benchmark = True
    found = surroundings("bash bench/ped2_gpu.sh --probe DATA OUT") | {"size": options.size, "width": options.width}
    ways: dict[str, dict[str, Any]] = found.setdefault("training", {})

    def note(what: str, measured: Callable[[], Any], into: dict[str, Any]) -> None:
        try:
            into[what] = measured()
        except RuntimeError as error:  # one way that does not run must not cost the figures of the others
            into[what] = {"error": str(error)[-500:]}
        print(f"{what}: {str(into[what])[:150]}", flush=True)
        with atomic_write(options.out / "probe.json") as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n")

    note(PLAIN, partial(plain_samples, options), ways)
    for way, changes in (WAYS | (GRAPHED if DEVICE.type == "cuda" else {})).items():
        note(way, partial(loop_samples, options, changes), ways)
    for precision, batch_size in SCORING:
        way = f"{precision}, {batch_size} frames at a time"
        note(way, partial(scoring_speed, options, precision, batch_size), found.setdefault("scoring", {}))
    note("profile", partial(step_profile, options), found)
    print(table(found))
    return 0


def plain_samples(options: argparse.Namespace) -> dict[str, float]:
    """Trains by a plain loop; the first tenth of its steps does not count."""
    model = build(options.width, plain=True).train()
    optimizer = torch.optim.Adam(model.parameters(), 2e-4)
    windows = Windows(_clips(options, "training"), model.config.frames_in, "next")
    sampler = ShuffledBatches(len(windows), 4, seed=0)
    warm = max(options.steps // 10, 1)
    began = 0.0
    for number, batch in zip(range(options.steps + warm), Batches(windows, sampler, DEVICE), strict=False):
        if number == warm:
            _finish()
            began = time.perf_counter()
        frames = to_frames(batch)
        losses = losses_of(model(frames[:, :4].flatten(1, 2)), frames[:, -1], WEIGHTS)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    _finish()
    return {"samples_per_second": 4 * (number + 1 - warm) / (time.perf_counter() - began)}


def loop_samples(options: argparse.Namespace, changes: dict[str, Any]) -> dict[str, float]:
    """Trains two epochs by the real loop; the second counts, the first compiles and fills caches."""
    torch.compiler.reset()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        train(_config(options, Path(folder), epochs=2, **changes))
        whole = time.perf_counter() - began
        rows = read_curves(Path(folder))
    return {
        "samples_per_second": rows[-1]["samples_per_second"],
        "first_epoch": rows[0]["samples_per_second"],
        "seconds": whole,
        "loss": rows[-1]["loss"],
    }


def scoring_speed(options: argparse.Namespace, precision: Precision, batch_size: int) -> dict[str, float]:
    """Scores the test set twice, every frame with its update of the items; the second time counts."""
    model = build(options.width, plain=False)
    clips = _clips(options, "testing")
    once = partial(
        measure, model, clips, update_threshold=1.0, batch_size=batch_size, precision=precision, progress=False
    )
    once()
    began = time.perf_counter()
    measured = once()
    return {
        "frames_per_second": len(measured) / (time.perf_counter() - began),
        "updated": float(measured.updated.mean()),
    }


def step_profile(options: argparse.Namespace) -> dict[str, Any]:
    """Profiles eager steps in bf16: the kernels that take longest, and the share of the memory's own."""
    model = build(options.width, plain=False)
    optimizer = torch.optim.Adam(model.parameters(), 2e-4, fused=True)
    frames = (torch.rand(4, 15, options.size, options.size, device=DEVICE) * 2 - 1).to(
        memory_format=torch.channels_last
    )

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16):
            restored = model(frames[:, :12])
        losses = losses_of(restored, frames[:, 12:], WEIGHTS)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()

    for _ in range(3):
        step()
    _finish()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if DEVICE.type == "cuda" else [])]
    with profile(activities=activities) as profiled:
        for _ in range(PROFILED_STEPS):
            step()
        _finish()
    return kernel_shares(profiled)


def kernel_shares(profiled: profile) -> dict[str, Any]:
    """Adds up the times of the kernels by name; on a CPU those of the operators take their place."""
    took: dict[str, float] = defaultdict(float)
    count = 0
    for average in profiled.key_averages():
        on_gpu = average.device_type == torch.autograd.DeviceType.CUDA
        if on_gpu == (DEVICE.type == "cuda") and not average.is_user_annotation:
            took[average.key] += average.self_device_time_total if on_gpu else average.self_cpu_time_total
            count += average.count
    total = sum(took.values())
    longest = sorted(took.items(), key=lambda item: -item[1])[:KERNELS_SHOWN]
    return {
        "ms_of_a_step": total / PROFILED_STEPS / 1e3,
        "kernels_of_a_step": count / PROFILED_STEPS,
        "share_of_the_memory": sum(time for name, time in took.items() if "mnad" in name) / total,
        "longest": [{"name": name[:120], "share": time / total} for name, time in longest],
    }


def table(found: dict[str, Any]) -> str:
    plain = found["training"][PLAIN].get("samples_per_second")
    lines = [f"{'training, B = 4':36} {'samples/s':>10} {'of plain':>9}"]
    for way, row in found["training"].items():
        speed = row.get("samples_per_second")
        lines.append(
            f"{way:36} {'failed: ' + row['error'][-80:]}"
            if speed is None
            else f"{way:36} {speed:>10.1f} " + (f"{speed / plain:>8.1f}x" if plain else "")
        )
    lines.append("scoring, an update at every frame:")
    for way, row in found["scoring"].items():
        lines.append(f"  {way}: {row.get('frames_per_second', float('nan')):.0f} frames/s")
    profiled = found["profile"]
    if "error" not in profiled:
        lines.append(
            f"a step in bf16: {profiled['ms_of_a_step']:.2f} ms in {profiled['kernels_of_a_step']:.0f} kernels, "
            f"{profiled['share_of_the_memory']:.1%} of it the memory"
        )
    return "\n".join([*lines, f"{found['device']}; torch {found['torch']}; commit {found['commit'][:9]}"])


def _config(options: argparse.Namespace, out: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(
        options.data,
        out,
        size=options.size,
        width=options.width,
        cache=options.out / "stores",
        device_cache=True,
        keep_every=0,
        **changes,
    )


def _clips(options: argparse.Namespace, split: Any) -> Any:
    return open_clips(options.data, split, options.size, cache=options.out / "stores", progress=False)


def _finish() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    raise SystemExit(main())
