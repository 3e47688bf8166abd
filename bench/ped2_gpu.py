"""Trains and scores models on UCSD Ped2 until the time is up; the same call with the same OUT goes on from there.

    bash bench/ped2_gpu.sh DATA OUT prediction prediction-no-memory --minutes 9 --results RESULTS

OUT gets a folder for each run, MODEL-seedN, with checkpoint, curves, measurements and, when it is finished, its weights
in float16 (export/), and summary.json for all of them. RESULTS gets what is to be kept of it, in few small files:
summary.json, raw.zip with curves and measurements, and the exported weights of one run.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import statistics
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from gpu_operators import commit
from mnad.checkpoint import export_checkpoint, load_checkpoint
from mnad.errors import CheckpointError, Interrupted
from mnad.evaluation import evaluate, sweep
from mnad.export import is_export
from mnad.files import atomic_write
from mnad.measurements import Measurements, load_measurements
from mnad.models import PRESETS
from mnad.scoring import ScoreConfig, score
from mnad.training import TrainConfig, train
from report import device_name

MODELS = ("prediction", "prediction-no-memory", "reconstruction", "reconstruction-no-memory")
# Kept back of the time for scoring and writing, at most.
KEPT_BACK = 45.0


@dataclass(frozen=True)
class Run:
    """One model to be trained: what it is called, and its options."""

    model: str
    seed: int
    config: TrainConfig

    @property
    def folder(self) -> Path:
        return self.config.out

    @property
    def finished(self) -> bool:
        """Whether it is trained, scored and exported, which comes last."""
        return is_export(self.folder / "export")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    began = time.monotonic()
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    runs = [_run(options, model, seed) for seed in options.seeds for model in options.models]
    stopped = False
    for run in runs:
        left = 60 * options.minutes - (time.monotonic() - began)
        stopped = stopped or not advance(run, left, options.data)
        summary = write_summary(options, runs)
        if options.results:
            keep(options, runs)
        if stopped:
            break
    print(table(summary))
    unfinished = [run["name"] for run in summary["runs"] if not run["finished"]]
    if unfinished:
        print(f"not finished: {', '.join(unfinished)}; the same call goes on from {options.out}")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="UCSD Ped2 in any layout.")
    parser.add_argument("out", type=Path, help="The folder for the runs; in memory, such as under /dev/shm, if it can.")
    parser.add_argument("models", nargs="*", default=["prediction"], help=f"Of {', '.join(MODELS)}.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="Every model is trained with each of them.")
    parser.add_argument("--minutes", type=float, default=9, help="When to stop; what has been done stays.")
    parser.add_argument("--results", type=Path, help="Where copies of what is to be kept go.")
    parser.add_argument("--send", help="The run whose weights go to RESULTS, such as prediction-seed1: the first.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--precision", choices=("bf16-mixed", "32-true"), default="bf16-mixed")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cuda-graphs", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.models) - set(PRESETS))
    if unknown:
        parser.error(f"unknown models {unknown}; there are {', '.join(PRESETS)}")
    return options


def _run(options: argparse.Namespace, model: str, seed: int) -> Run:
    name = f"{model}-seed{seed}" + ("-float32" if options.precision == "32-true" else "")
    config = TrainConfig(
        options.data,
        options.out / name,
        model,  # type: ignore[arg-type]
        size=options.size,
        width=options.width,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=seed,
        precision=options.precision,
        compile=options.compile,
        cuda_graphs=options.cuda_graphs,
        cache=options.out / "stores",
        device_cache=True,
        resume=True,
        keep_every=0,
    )
    return Run(model, seed, config)


def advance(run: Run, seconds: float, data: Path) -> bool:
    """Trains a run as far as the time allows, and scores it if that is to the end.

    Returns:
        Whether it is finished; if not, the time is up.
    """
    if epochs_done(run) < run.config.epochs:
        began = time.monotonic()
        try:
            with stopping_after(seconds - min(KEPT_BACK, seconds / 4)):
                train(run.config)
        except Interrupted as stop:
            print(f"{run.folder.name}: {stop}")
            return False
        finally:
            _add_minutes(run, (time.monotonic() - began) / 60)
    if not run.finished:
        score(ScoreConfig(run.folder, data, cache=run.config.cache))
        export_checkpoint(run.folder / "export", load_checkpoint(run.folder))
    return True


def epochs_done(run: Run) -> int:
    try:
        return load_checkpoint(run.folder).epoch
    except CheckpointError:
        return 0


@contextmanager
def stopping_after(seconds: float) -> Iterator[None]:
    """Has training stop, as it does on SIGTERM, when the time is up: after the step at hand, with a checkpoint."""

    def ask(number: int, frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # it has not begun to listen yet
            signal.setitimer(signal.ITIMER_REAL, 0.2)
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    previous = signal.signal(signal.SIGALRM, ask)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _add_minutes(run: Run, minutes: float) -> None:
    path = run.folder / "minutes.json"
    before = json.loads(path.read_text())["minutes"] if path.is_file() else 0.0
    _write(path, {"minutes": before + minutes})


def write_summary(options: argparse.Namespace, runs: list[Run]) -> dict[str, Any]:
    summary = surroundings(f"bash bench/ped2_gpu.sh DATA OUT {' '.join(options.models)}") | {
        "notes": "minutes: of training, start-up, compiling and checkpoints included, calls that were killed not; "
        "best: lambda chosen on the test set, not a fair figure",
        "runs": [describe(run) for run in runs],
    }
    _write(options.out / "summary.json", summary)
    return summary


def surroundings(command: str) -> dict[str, Any]:
    """Tells by what and where something was measured."""
    return {
        "command": command,
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
    }


def describe(run: Run) -> dict[str, Any]:
    """Tells how far a run is and, when it is finished, what came of it."""
    config = run.config
    names = ("size", "width", "epochs", "batch_size", "precision", "compile", "cuda_graphs")
    found: dict[str, Any] = {"name": run.folder.name, "model": run.model, "seed": run.seed}
    found |= {name: getattr(config, name) for name in names} | {"learning_rate": config.recipe().learning_rate}
    rows = read_curves(run.folder)
    if rows:
        found["samples_per_second"] = round(statistics.median(row["samples_per_second"] for row in rows), 1)
        found["last_epoch"] = rows[-1]
    if (run.folder / "minutes.json").is_file():
        found["minutes"] = round(json.loads((run.folder / "minutes.json").read_text())["minutes"], 2)
    found["epochs_done"] = len(rows)
    found["finished"] = run.finished
    if run.finished:
        found |= figures(load_measurements(run.folder))
    return found


def figures(measurements: Measurements) -> dict[str, Any]:
    """Gives the AUC by the published protocol and, marked as what it is, the best of all lambdas."""
    published = evaluate(measurements)
    found: dict[str, Any] = {
        "auc": published.auc,
        "lambda": published.score_weight,
        "macro_auc": published.macro_auc,
        "updates": published.updates,
        "frames": published.frames,
        # Names in place of paths: these figures are passed on.
        "protocol": published.protocol
        | {name: Path(str(published.protocol[name])).name for name in ("checkpoint", "data")},
    }
    if measurements.protocol["memory"]:
        every = sweep(measurements)
        found["best"] = {"auc": every.best_auc, "lambda": every.best_weight, "note": "chosen on test"}
        pairs = zip(every.weights, every.aucs, strict=True)
        found["sweep"] = {f"{weight:g}": round(auc, 5) for weight, auc in pairs}
    return found


def read_curves(folder: Path) -> list[dict[str, float]]:
    path = folder / "curves" / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def keep(options: argparse.Namespace, runs: list[Run]) -> None:
    """Copies what is to be kept, in few files."""
    results: Path = options.results
    results.mkdir(parents=True, exist_ok=True)
    shutil.copy(options.out / "summary.json", results)
    with zipfile.ZipFile(results / "raw.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for run in runs:
            for path in (run.folder / "curves" / "metrics.csv", run.folder / "measurements.npz"):
                if path.is_file():
                    archive.write(path, path.relative_to(options.out))
    sent = options.send or runs[0].folder.name
    if (options.out / sent / "export").is_dir():
        shutil.copytree(options.out / sent / "export", results / sent, dirs_exist_ok=True)


def table(summary: dict[str, Any]) -> str:
    lines = [f"{'run':36} {'epochs':>7} {'minutes':>8} {'samples/s':>10} {'AUC':>7} {'lambda':>7}  best on test"]
    for run in summary["runs"]:
        cells = f"{run['name']:36} {run['epochs_done']:>3}/{run['epochs']:<3} {run.get('minutes', 0):>8.1f} "
        cells += f"{run.get('samples_per_second', 0):>10.0f}"
        if run["finished"]:
            cells += f" {100 * run['auc']:>6.2f}% {run['lambda']:>7g}"
        if "best" in run:
            cells += f"  {100 * run['best']['auc']:.2f}% at {run['best']['lambda']:g}"
        lines.append(cells)
    return "\n".join([*lines, f"{summary['device']}; torch {summary['torch']}; commit {summary['commit'][:9]}"])


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
