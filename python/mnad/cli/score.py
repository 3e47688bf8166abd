"""``mnad score``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, build


def _add_options(parser: ArgumentParser) -> None:
    from mnad.pipeline.score import ScoreConfig

    parser.add_argument("run", type=Path, help="A run's folder, or a checkpoint file.")
    parser.add_class_arguments(ScoreConfig, as_group=False, skip={"run"})


def _run(options: Namespace) -> None:
    from mnad.pipeline.score import ScoreConfig, score

    print(f"wrote {score(build(ScoreConfig, options))}")


COMMAND = Command(
    "mnad score runs/one --data data/circles",
    "measure every test frame",
    "Measure every test frame with a trained model.",
    "mnad score runs/ped2 --data ped2",
    _add_options,
    _run,
)
