"""Trains and scores models on UCSD Ped2 until the time is up; the same call with the same OUT goes on from there.

    bash bench/ped2_gpu.sh DATA OUT prediction prediction-no-memory --minutes 9 --results RESULTS

OUT gets a folder for each run, MODEL-seedN, with checkpoint, curves and measurements. RESULTS gets what is to be kept
of them, in few small files: summary.json, raw.zip with curves and measurements, and the weights of one run in float16.
They are written before and after training and scoring, however these end; summary.json names what went wrong.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tarfile
import time
import traceback
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from gpu_operators import commit
from mnad.artifacts.checkpoint import export_checkpoint, load_checkpoint
from mnad.artifacts.measurements import Measurements, load_measurements
from mnad.evaluation import evaluate, sweep
from mnad.models import PRESETS
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.errors import CheckpointError, Interrupted
from mnad.runtime.files import atomic_folder, atomic_write
from mnad.training import TrainConfig, train
from report import device_name
from time_limits import TimeUpError, limit, stopping_after

MODELS = ("prediction", "prediction-no-memory", "reconstruction", "reconstruction-no-memory")
# Seconds kept back of the time for stopping, scoring and writing, at most.
KEPT_BACK = 35.0
# The most that evaluating and exporting may take.
WRITING = 10.0


@dataclass
class Run:
    """One model to be trained: what it is called, and its options.

    Attributes:
        doing: What is being done with it; stays in the summary of a call that is killed.
        stopped: What was being done when the time was up.
        error: What went wrong.
    """

    model: str
    seed: int
    config: TrainConfig
    doing: str = ""
    stopped: str = ""
    error: str = ""

    @property
    def folder(self) -> Path:
        return self.config.out

    @property
    def finished(self) -> bool:
        """Whether it is trained and scored."""
        return (self.folder / "measurements.npz").is_file()


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    runs = [_run(options, model, seed) for seed in options.seeds for model in options.models]
    names = [run.folder.name for run in runs]
    if options.send and options.send not in names:
        raise SystemExit(f"--send {options.send}: the runs are {', '.join(names)}")
    try:
        if options.rescue:
            rescue(options, runs)
        else:
            work(options, runs, deadline)
    finally:
        summary = write_results(options, runs)
    print(table(summary))
    unfinished = [run["name"] for run in summary["runs"] if not run["finished"]]
    if unfinished:
        print(f"not finished: {', '.join(unfinished)}; the same call goes on from {options.out}")
    failed = [run for run in summary["runs"] if "error" in run]
    for run in failed:
        print(f"FAILED {run['name']}: {run['error']}")
    return 1 if failed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("data", type=Path, help="UCSD Ped2 in any layout, or a .tar of it, which is unpacked into OUT.")
    parser.add_argument("out", type=Path, help="The folder for the runs; in memory, such as under /dev/shm, if it can.")
    parser.add_argument("models", nargs="*", default=["prediction"], help=f"Of {', '.join(MODELS)}.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="Every model is trained with each of them.")
    parser.add_argument("--minutes", type=float, default=7.1, help="When to stop; what has been done stays.")
    parser.add_argument("--results", type=Path, help="Where what is to be kept goes; OUT/results if left out.")
    parser.add_argument("--rescue", metavar="ERROR", help="Only write the results of a call that was ended by this.")
    parser.add_argument("--send", help="The run whose weights go to RESULTS, such as prediction-seed1: the first.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--precision", choices=("bf16-mixed", "32-true"), default="bf16-mixed")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cuda-graphs", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    options = parser.parse_args(arguments)
    options.results = options.results or options.out / "results"
    unknown = sorted(set(options.models) - set(PRESETS))
    if unknown:
        parser.error(f"unknown models {unknown}; there are {', '.join(PRESETS)}")
    return options


def _run(options: argparse.Namespace, model: str, seed: int) -> Run:
    name = f"{model}-seed{seed}" + ("-float32" if options.precision == "32-true" else "")
    config = TrainConfig(
        options.out / "data" if options.data.suffix == ".tar" else options.data,
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


def work(options: argparse.Namespace, runs: list[Run], deadline: float) -> None:
    """Advances one run after the other; an error ends its run, the time all of them."""
    for run in runs:
        try:
            advance(options, runs, run, deadline)
        except (Interrupted, TimeUpError) as stop:
            run.stopped = f"{run.doing}: {stop}"
            print(f"{run.folder.name}: {run.stopped}")
            return
        except Exception as error:  # of training or scoring; what there is already must be kept all the same
            traceback.print_exc()
            run.error = f"{run.doing}: {error!r}"
        except BaseException as error:
            run.error = f"{run.doing}: {error!r}"
            raise
        finally:
            run.doing = ""


def rescue(options: argparse.Namespace, runs: list[Run]) -> None:
    """Notes what ended a call with the run that it was at, unless the call itself could still note it."""
    path = options.out / "summary.json"
    found = {run["name"]: run for run in json.loads(path.read_text())["runs"]} if path.is_file() else {}
    for run in runs:
        noted = found.get(run.folder.name, {})
        run.error = f"{noted['doing']}: {options.rescue}" if "doing" in noted else noted.get("error", "")
    if not any(run.error for run in runs):
        runs[0].error = options.rescue


def advance(options: argparse.Namespace, runs: list[Run], run: Run, deadline: float) -> None:
    """Trains a run as far as the time allows, and scores it if that is to the end."""

    def begin(what: str) -> float:
        run.doing = what
        write_results(options, runs)
        return deadline - time.monotonic()

    if options.data.suffix == ".tar" and not run.config.data.is_dir():
        with limit(begin("unpacking")):
            unpack(options.data, run.config.data)
    if epochs_done(run) < run.config.epochs:
        seconds = begin("training")
        began = time.monotonic()
        try:
            with stopping_after(seconds - min(KEPT_BACK, seconds / 4)):
                train(run.config)
        finally:
            _add_minutes(run, (time.monotonic() - began) / 60)
    if not run.finished:
        seconds = begin("scoring")
        with limit(seconds - min(WRITING, seconds / 4)):
            score(ScoreConfig(run.folder, run.config.data, cache=run.config.cache))


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a data set, of which the archive holds the folder or what is in it."""
    with atomic_folder(folder) as temporary, tarfile.open(archive) as opened:
        opened.extractall(temporary, filter="data")
        inner = next((path for path in temporary.iterdir() if (path / "training").is_dir()), None)
        if inner is not None:
            for path in inner.iterdir():
                path.rename(temporary / path.name)
            inner.rmdir()


def epochs_done(run: Run) -> int:
    try:
        return load_checkpoint(run.folder).epoch
    except CheckpointError:
        return 0


def _add_minutes(run: Run, minutes: float) -> None:
    path = run.folder / "minutes.json"
    before = json.loads(path.read_text())["minutes"] if path.is_file() else 0.0
    _write(path, {"minutes": before + minutes})


def write_results(options: argparse.Namespace, runs: list[Run]) -> dict[str, Any]:
    """Writes what is to be kept, in few files, of everything that there is, and gives the summary."""
    sent = next(run for run in runs if run.folder.name == (options.send or runs[0].folder.name))
    export_error = export(sent, options.results / sent.folder.name)
    summary = surroundings(f"bash bench/ped2_gpu.sh DATA OUT {' '.join(options.models)}") | {
        "notes": "minutes: of training, start-up, compiling and checkpoints included, calls that were killed not; "
        "best: lambda chosen on the test set, not a fair figure",
        "runs": [describe(run) for run in runs],
    }
    if export_error:
        summary["runs"][runs.index(sent)].setdefault("error", export_error)
    for folder in (options.out, options.results):
        _write(folder / "summary.json", summary)
    places = [run.folder / name for run in runs for name in ("curves/metrics.csv", "measurements.npz")]
    with (
        atomic_write(options.results / "raw.zip") as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for path in places:
            if path.is_file():
                archive.write(path, path.relative_to(options.out))
    return summary


def export(run: Run, folder: Path) -> str:
    """Writes the weights of a run's checkpoint, if there is one, and tells what went wrong."""
    if not (run.folder / "checkpoint.safetensors").is_file():
        return ""
    try:
        with limit(WRITING):
            export_checkpoint(folder, load_checkpoint(run.folder))
    except (Exception, TimeUpError) as error:
        traceback.print_exc()
        return f"exporting: {error!r}"
    return ""


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
    found |= {name: value for name in ("doing", "stopped", "error") if (value := getattr(run, name))}
    if run.finished:
        try:
            with limit(WRITING):
                found |= figures(load_measurements(run.folder))
        except (Exception, TimeUpError) as error:
            traceback.print_exc()
            found["error"] = f"evaluating: {error!r}"
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


def table(summary: dict[str, Any]) -> str:
    lines = [f"{'run':36} {'epochs':>7} {'minutes':>8} {'samples/s':>10} {'AUC':>7} {'lambda':>7}  best on test"]
    for run in summary["runs"]:
        cells = f"{run['name']:36} {run['epochs_done']:>3}/{run['epochs']:<3} {run.get('minutes', 0):>8.1f} "
        cells += f"{run.get('samples_per_second', 0):>10.0f}"
        if "auc" in run:
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
