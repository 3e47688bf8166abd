"""``mnad overlay``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, build
from mnad.cli.evaluation_options import add_evaluation_options, evaluation_options


def _add_options(parser: ArgumentParser) -> None:
    from mnad.report.overlay import OverlayConfig

    parser.add_argument("run", type=Path, help="A run's folder.")
    parser.add_class_arguments(OverlayConfig, as_group=False, skip={"run"})
    add_evaluation_options(parser)


def _run(options: Namespace) -> None:
    from mnad.report.overlay import OverlayConfig, write_overlays

    for file in write_overlays(build(OverlayConfig, options), evaluation_options(options)):
        print(f"wrote {file}")


COMMAND = Command(
    "mnad overlay runs/one --out videos",
    "the test videos with score and heatmap drawn in",
    "Draw score curve, labels, threshold and error heatmap on the test videos, as .mp4.",
    "mnad overlay runs/ped2 --video 03 --out 03.mp4",
    _add_options,
    _run,
)
