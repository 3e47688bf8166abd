"""``mnad demo``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo"), help="The folder for data, runs, table and figure.")


def _run(options: Namespace) -> None:
    from mnad.reproduction.demo import demo

    demo(options.out)


COMMAND = Command(
    "mnad demo",
    "all of it, small, in a few minutes",
    "All of it, small: synthetic data, two models, a table and a figure, in a few minutes.",
    "mnad demo --out demo",
    _add_options,
    _run,
)
