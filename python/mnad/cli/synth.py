"""``mnad synth``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, build


def _add_options(parser: ArgumentParser) -> None:
    from mnad.data.synthetic import SyntheticSpec

    parser.add_argument("out", type=Path, help="The folder to make.")
    parser.add_class_arguments(SyntheticSpec, as_group=False)


def _run(options: Namespace) -> None:
    from mnad.data.synthetic import SyntheticSpec, write_synthetic

    write_synthetic(options.out, build(SyntheticSpec, options))
    print(f"wrote {options.out}")


COMMAND = Command(
    "mnad synth data/circles",
    "make the synthetic data set",
    "Make the synthetic data set: circles are normal; squares and fast circles are not.",
    "mnad synth data/circles --size 128 --objects 3",
    _add_options,
    _run,
)
