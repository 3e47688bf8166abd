"""``mnad train``."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, build


def _add_options(parser: ArgumentParser) -> None:
    from mnad.training import TrainConfig

    parser.add_class_arguments(TrainConfig, as_group=False)


def _run(options: Namespace) -> None:
    from mnad.training import TrainConfig, train

    print(f"wrote {train(build(TrainConfig, options))}")


COMMAND = Command(
    "mnad train --data data/circles --out runs/one",
    "train a model",
    "Train a model on normal video.",
    "mnad train --preset prediction --data ped2 --out runs/ped2 --width 16 --size 128 --epochs 1",
    _add_options,
    _run,
)
