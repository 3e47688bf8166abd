"""What each subcommand does: calls one function of the package, and prints what came of it.

Each imports what it needs itself, so that no command waits for the libraries of another one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnad.cli.configs import DemoConfig, InspectConfig, SynthConfig
    from mnad.data.preparation import PrepareConfig
    from mnad.pipeline.bench import BenchConfig
    from mnad.pipeline.calibrate import CalibrateConfig
    from mnad.pipeline.convert import ConvertConfig
    from mnad.pipeline.evaluate import EvaluateConfig
    from mnad.pipeline.export import ExportConfig
    from mnad.pipeline.score import ScoreConfig
    from mnad.report.overlay import OverlayConfig
    from mnad.report.page import ReportConfig
    from mnad.report.run_plots import PlotsConfig
    from mnad.reproduction import ReproduceConfig
    from mnad.training import TrainConfig
    from mnad.watching.settings import WatchConfig

UNUSABLE = 1


def demo(config: DemoConfig) -> None:
    """Runs ``mnad demo``."""
    from mnad.reproduction.demo import demo

    demo(config.out)


def synth(config: SynthConfig) -> None:
    """Runs ``mnad synth``."""
    from mnad.data.synthetic import SyntheticSpec, write_synthetic

    write_synthetic(
        config.out, SyntheticSpec(**{each.name: getattr(config, each.name) for each in fields(SyntheticSpec)})
    )
    print(f"wrote {config.out}")


def inspect(config: InspectConfig, as_json: bool) -> int:
    """Runs ``mnad inspect``."""
    from mnad.data.inspection import inspect
    from mnad.report.inspection_table import print_inspection

    inspection = inspect(config.data, config.layout, quick=config.quick, progress=not as_json)
    if as_json:
        print(json.dumps(inspection.as_dict(), indent=2))
    else:
        print_inspection(inspection)
    return 0 if inspection.usable else UNUSABLE


def prepare(config: PrepareConfig) -> None:
    """Runs ``mnad prepare``."""
    from mnad.pipeline.prepare import prepare_by
    from mnad.runtime.progress import log_to

    with log_to(config.store.with_name(f"{config.store.name}.log")):
        store = prepare_by(config)
    for name, split in store.splits.items():
        shape = f"{store.size} x {store.size} x {store.channels}"
        print(f"{name}: {len(split.videos)} videos, {split.frames:,} frames, {shape}")
    print(f"wrote {store.path}")


def train(config: TrainConfig) -> None:
    """Runs ``mnad train``."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from mnad.training import train

    path = train(config)
    rank_zero_only(print)(f"wrote {path}")  # not once for each process


def convert(config: ConvertConfig) -> None:
    """Runs ``mnad convert``."""
    from mnad.pipeline.convert import convert

    print(f"wrote {convert(config)}")


def score(config: ScoreConfig) -> int | None:
    """Runs ``mnad score``."""
    if config.engine == "ray":
        from mnad.pipeline.score_videos import score_videos
        from mnad.report.scoring_table import print_summary

        summary = score_videos(config)
        print_summary(summary)
        return UNUSABLE if summary.failed else None
    from mnad.pipeline.score import score

    print(f"wrote {score(config)}")
    return None


def calibrate(config: CalibrateConfig) -> None:
    """Runs ``mnad calibrate``."""
    from mnad.pipeline.calibrate import calibrate
    from mnad.report.evaluation_table import print_calibration

    print_calibration(calibrate(config))
    print(f"stored in {config.run}")


def evaluate(config: EvaluateConfig, as_json: bool) -> None:
    """Runs ``mnad evaluate``."""
    from mnad.pipeline.evaluate import evaluate_run
    from mnad.pipeline.outcome import write_outcome
    from mnad.report.evaluation_table import print_outcome

    outcome = evaluate_run(config)
    if as_json:
        print(json.dumps(outcome.as_dict(), indent=2))
    else:
        print_outcome(outcome)
    if config.out is not None:
        written = write_outcome(config.out, outcome)
        if not as_json:
            print(f"wrote {', '.join(map(str, written))}")


def plots(config: PlotsConfig) -> None:
    """Runs ``mnad plots``."""
    from mnad.report.run_plots import draw_run_plots

    for picture in draw_run_plots(config):
        print(f"wrote {picture}")


def report(config: ReportConfig) -> None:
    """Runs ``mnad report``."""
    from mnad.report.page import write_report

    out = write_report(config)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB); open it in any browser, it needs no network")


def overlay(config: OverlayConfig) -> None:
    """Runs ``mnad overlay``."""
    from mnad.report.overlay import write_overlays

    for file in write_overlays(config):
        print(f"wrote {file}")


def watch(config: WatchConfig) -> int:
    """Runs ``mnad watch``."""
    from mnad.watching.watcher import watch

    return 0 if watch(config) else UNUSABLE


def export(config: ExportConfig) -> None:
    """Runs ``mnad export``."""
    from mnad.pipeline.export import export

    print(f"wrote {export(config)}")


def bench(config: BenchConfig, as_json: bool) -> None:
    """Runs ``mnad bench``."""
    from mnad.pipeline.bench import bench
    from mnad.report.bench_table import print_timings

    timings = bench(config)
    if as_json:
        print(json.dumps([asdict(each) for each in timings], indent=2))
    else:
        print_timings(timings)


def reproduce(config: ReproduceConfig) -> None:
    """Runs ``mnad reproduce``."""
    from mnad.reproduction import reproduce

    reproduce(config)
