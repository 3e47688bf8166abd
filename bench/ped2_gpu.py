"""Trains and scores models on UCSD Ped2 until the time is up; the same call with the same OUT goes on from there.

    bash bench/ped2_gpu.sh DATA OUT prediction prediction-no-memory --minutes 9 --results RESULTS

OUT gets a folder for each run, MODEL-seedN, with checkpoint, curves and measurements. RESULTS gets what is to be kept
of them, in few small files: summary.json, raw.zip with curves and measurements, and the weights of one run in float16.
They are written before and after training and scoring, however these end; summary.json names what went wrong.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tarfile
import time
import traceback
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from gpu_operators import commit
from mnad.artifacts.checkpoint import export_checkpoint, load_checkpoint
from mnad.artifacts.curves import curves_file, read_curves
from mnad.artifacts.measurements import Measurements, load_measurements
from mnad.evaluation import evaluate, sweep
from mnad.models import PRESETS
from mnad.reproduction.deadline import Deadline, limit
from mnad.reproduction.runner import MeasurementSpec, Runner, TrainingSpec
from mnad.reproduction.scale import SCALES
from mnad.runtime.errors import Interrupted
from mnad.runtime.files import atomic_folder, atomic_write
from mnad.training import TrainConfig
from plot_results import device_name

MODELS = ("prediction", "prediction-no-memory", "reconstruction", "reconstruction-no-memory")
# Seconds kept back of the time for stopping, scoring and writing, at most.
KEPT_BACK = 35.0
# The most that evaluating and exporting may take.
WRITING = 10.0


@dataclass
class Job:
    """One model to be trained and scored, and how that goes.

    Attributes:
        runner: Trains and scores it.
        training: What is trained.
        doing: What is being done with it; stays in the summary of a call that is killed.
        stopped: What was being done when the time was up.
        error: What went wrong.
    """

    runner: Runner
    training: TrainingSpec
    doing: str = ""
    stopped: str = ""
    error: str = ""

    @property
    def config(self) -> TrainConfig:
        return self.runner.config(self.training)

    @property
    def folder(self) -> Path:
        return self.config.out

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def measurement(self) -> MeasurementSpec:
        return MeasurementSpec(self.training)

    @property
    def measurements_file(self) -> Path:
        return self.runner.measurements_file(self.measurement)

    @property
    def finished(self) -> bool:
        """Whether it is trained and scored."""
        return self.runner.is_measured(self.measurement)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    deadline = Deadline(time.monotonic() + 60 * options.minutes, after_training=KEPT_BACK, after_scoring=WRITING)
    runner = make_runner(options, deadline)
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    jobs = [Job(runner, training(options, model, seed)) for seed in options.seeds for model in options.models]
    names = [job.name for job in jobs]
    if options.send and options.send not in names:
        raise SystemExit(f"--send {options.send}: the runs are {', '.join(names)}")
    try:
        if options.rescue:
            rescue(options, jobs)
        else:
            work(options, jobs, deadline)
    finally:
        summary = write_results(options, jobs)
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


def make_runner(options: argparse.Namespace, deadline: Deadline) -> Runner:
    scale = replace(
        SCALES["full"], size=options.size, width=options.width, epochs={"ped2": options.epochs}, keep_every=0
    )
    return Runner(
        options.out,
        {"ped2": options.out / "data" if options.data.suffix == ".tar" else options.data},
        scale,
        precision=options.precision,
        compile=options.compile,
        cuda_graphs=options.cuda_graphs,
        device_cache=True,
        cache=options.out / "stores",
        deadline=deadline,
    )


def training(options: argparse.Namespace, model: str, seed: int) -> TrainingSpec:
    name = f"{model}-seed{seed}" + ("-float32" if options.precision == "32-true" else "")
    return TrainingSpec(model, "ped2", batch_size=options.batch_size, seed=seed, folder=name)  # type: ignore[arg-type]


def work(options: argparse.Namespace, jobs: list[Job], deadline: Deadline) -> None:
    """Advances one job after the other; an error ends its job, the time all of them."""
    for job in jobs:
        try:
            advance(options, jobs, job, deadline)
        except Interrupted as stop:
            job.stopped = f"{job.doing}: {stop}"
            print(f"{job.name}: {job.stopped}")
            return
        except Exception as error:  # of training or scoring; what there is already must be kept all the same
            traceback.print_exc()
            job.error = f"{job.doing}: {error!r}"
        except BaseException as error:
            job.error = f"{job.doing}: {error!r}"
            raise
        finally:
            job.doing = ""


def rescue(options: argparse.Namespace, jobs: list[Job]) -> None:
    """Notes what ended a call with the job that it was at, unless the call itself could still note it."""
    path = options.out / "summary.json"
    found = {run["name"]: run for run in json.loads(path.read_text())["runs"]} if path.is_file() else {}
    for job in jobs:
        noted = found.get(job.name, {})
        job.error = f"{noted['doing']}: {options.rescue}" if "doing" in noted else noted.get("error", "")
    if not any(job.error for job in jobs):
        jobs[0].error = options.rescue


def advance(options: argparse.Namespace, jobs: list[Job], job: Job, deadline: Deadline) -> None:
    """Trains as far as the time allows, and scores if that is to the end; results are written before each."""

    def begin(what: str) -> None:
        job.doing = what
        write_results(options, jobs)

    runner = job.runner
    data = runner.path("ped2")
    if options.data.suffix == ".tar" and not data.is_dir():
        begin("unpacking")
        with limit(deadline.left()):
            unpack(options.data, data)
    if not runner.is_trained(job.training):
        begin("training")
        began = time.monotonic()
        try:
            runner.trained(job.training)
        finally:
            _add_minutes(job.folder, (time.monotonic() - began) / 60)
    if not job.finished:
        begin("scoring")
        runner.measured(job.measurement)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a data set, of which the archive holds the folder or what is in it."""
    with atomic_folder(folder) as temporary, tarfile.open(archive) as opened:
        opened.extractall(temporary, filter="data")
        inner = next((path for path in temporary.iterdir() if (path / "training").is_dir()), None)
        if inner is not None:
            for path in inner.iterdir():
                path.rename(temporary / path.name)
            inner.rmdir()


def _add_minutes(folder: Path, minutes: float) -> None:
    path = folder / "minutes.json"
    before = json.loads(path.read_text())["minutes"] if path.is_file() else 0.0
    _write(path, {"minutes": before + minutes})


def write_results(options: argparse.Namespace, jobs: list[Job]) -> dict[str, Any]:
    """Writes what is to be kept, in few files, of everything that there is, and returns the summary."""
    sent = next(job for job in jobs if job.name == (options.send or jobs[0].name))
    export_error = export(sent.folder, options.results / sent.name)
    summary = surroundings(f"bash bench/ped2_gpu.sh DATA OUT {' '.join(options.models)}") | {
        "notes": "minutes: of training, start-up, compiling and checkpoints included, calls that were killed not; "
        "best: lambda chosen on the test set, not a fair figure",
        "runs": [describe(job) for job in jobs],
    }
    if export_error:
        summary["runs"][jobs.index(sent)].setdefault("error", export_error)
    for folder in (options.out, options.results):
        _write(folder / "summary.json", summary)
    with (
        atomic_write(options.results / "raw.zip") as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for job in jobs:
            for path, name in (
                (curves_file(job.folder), "curves/metrics.csv"),
                (job.measurements_file, "measurements.npz"),
            ):
                if path.is_file():
                    archive.write(path, f"{job.name}/{name}")
    return summary


def export(run: Path, folder: Path) -> str:
    """Writes the weights of a run's checkpoint, if there is one, and returns what went wrong."""
    if not (run / "checkpoint.safetensors").is_file():
        return ""
    try:
        with limit(WRITING):
            export_checkpoint(folder, load_checkpoint(run))
    except Exception as error:
        traceback.print_exc()
        return f"exporting: {error!r}"
    return ""


def surroundings(command: str) -> dict[str, Any]:
    """Returns by what and where something was measured."""
    return {
        "command": command,
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
    }


def describe(job: Job) -> dict[str, Any]:
    """Returns how far a job is and, when it is finished, what came of it."""
    config = job.config
    names = ("size", "width", "epochs", "batch_size", "precision", "compile", "cuda_graphs")
    found: dict[str, Any] = {"name": job.name, "model": config.preset, "seed": config.seed}
    found |= {name: getattr(config, name) for name in names} | {"learning_rate": config.recipe().learning_rate}
    rows = read_curves(job.folder) if curves_file(job.folder).is_file() else []
    if rows:
        found["samples_per_second"] = round(statistics.median(row["samples_per_second"] for row in rows), 1)
        found["last_epoch"] = rows[-1]
    if (job.folder / "minutes.json").is_file():
        found["minutes"] = round(json.loads((job.folder / "minutes.json").read_text())["minutes"], 2)
    found["epochs_done"] = len(rows)
    found["finished"] = job.finished
    found |= {name: value for name in ("doing", "stopped", "error") if (value := getattr(job, name))}
    if job.finished:
        try:
            with limit(WRITING):
                # Names in place of paths: these numbers are passed on.
                found |= metrics(load_measurements(job.measurements_file), checkpoint=job.name, data=config.data.name)
        except Exception as error:
            traceback.print_exc()
            found["error"] = f"evaluating: {error!r}"
    return found


def metrics(measurements: Measurements, **names: str) -> dict[str, Any]:
    """Returns the AUC by the published protocol and, marked as what it is, the best of all lambdas."""
    published = evaluate(measurements)
    found: dict[str, Any] = {
        "auc": published.auc,
        "lambda": published.score_weight,
        "macro_auc": published.macro_auc,
        "updates": published.updates,
        "frames": published.frames,
        "protocol": published.protocol | names,
    }
    if measurements.protocol["memory"]:
        every = sweep(measurements)
        found["best"] = {"auc": every.best_auc, "lambda": every.best_weight, "note": "chosen on test"}
        pairs = zip(every.weights, every.aucs, strict=True)
        found["sweep"] = {f"{weight:g}": round(auc, 5) for weight, auc in pairs}
    return found


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
