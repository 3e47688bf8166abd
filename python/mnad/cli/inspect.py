"""``mnad inspect``."""

from __future__ import annotations

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command

UNUSABLE = 1


def _add_options(parser: ArgumentParser) -> None:
    from mnad.data.layouts import LayoutName

    parser.add_argument("data", type=Path, help="A data set in any known layout, or a clip store.")
    parser.add_argument(
        "--layout", type=LayoutName | None, default=None, help="How it is laid out; found by looking if left out."
    )
    parser.add_argument("--quick", action="store_true", help="Decode the first frame of each video only.")
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")


def _run(options: Namespace) -> int:
    from mnad.data.inspection import inspect
    from mnad.report.inspection_table import print_inspection

    inspection = inspect(options.data, options.layout, quick=options.quick, progress=not options.json)
    if options.json:
        print(json.dumps(inspection.as_dict(), indent=2))
    else:
        print_inspection(inspection)
    return 0 if inspection.usable else UNUSABLE


COMMAND = Command(
    "mnad inspect data/ped2",
    "say what a data set holds and what is wrong with it",
    "Say what a data set holds and what is wrong with it; status 1 if it cannot be used.",
    "mnad inspect data/ped2",
    _add_options,
    _run,
)
