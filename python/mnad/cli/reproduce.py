"""``mnad reproduce``."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, build


def _add_options(parser: ArgumentParser) -> None:
    from typing import Literal

    from mnad.reproduction import ExperimentName, ReproduceConfig

    parser.add_argument("name", type=ExperimentName | Literal["all"], help="The table, the figures, or all.")
    parser.add_argument(
        "--data",
        nargs="*",
        default=[],
        metavar="NAME=PATH",
        help="Data sets: ped2=PATH avenue=PATH shanghaitech=PATH. Rows of those not given are left out and named.",
    )
    parser.add_class_arguments(ReproduceConfig, as_group=False, skip={"name", "data"})


def _run(options: Namespace) -> None:
    from mnad.reproduction import ReproduceConfig, reproduce

    options.data = tuple(options.data)
    reproduce(build(ReproduceConfig, options))


COMMAND = Command(
    "mnad reproduce table4 --data ped2=data/ped2 --out tables",
    "a table or figure of the report, ours beside it",
    "Carry out experiments of the report, each once, and write ours beside what was published.",
    "mnad reproduce all --data ped2=data/ped2 --out tables --scale small --seeds 3",
    _add_options,
    _run,
)
