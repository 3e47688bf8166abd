"""``mnad calibrate``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, add_score_weight, build


def _add_options(parser: ArgumentParser) -> None:
    from mnad.pipeline.calibrate import CalibrateConfig

    parser.add_argument(
        "run", type=Path, help="A run's folder, a checkpoint file or exported weights; thresholds go into it."
    )
    add_score_weight(parser)
    parser.add_class_arguments(CalibrateConfig, as_group=False, skip={"run", "score_weight"})


def _run(options: Namespace) -> None:
    from mnad.pipeline.calibrate import CalibrateConfig, calibrate
    from mnad.report.evaluation_table import print_calibration

    config = build(CalibrateConfig, options)
    print_calibration(calibrate(config))
    print(f"stored in {config.run}")


COMMAND = Command(
    "mnad calibrate runs/one --data data/circles",
    "find thresholds from normal video alone",
    "Find thresholds for a rate of false alarms from normal video alone, and store them in the checkpoint.",
    "mnad calibrate runs/ped2 --data ped2 --fps 10 --false-alarms-per-hour 60,360",
    _add_options,
    _run,
)
