"""``mnad report``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, build
from mnad.cli.evaluation_options import add_evaluation_options, evaluation_options


def _add_options(parser: ArgumentParser) -> None:
    from mnad.report.page import ReportConfig

    parser.add_argument("run", type=Path, help="A run's folder.")
    parser.add_class_arguments(ReportConfig, as_group=False, skip={"run"})
    add_evaluation_options(parser)


def _run(options: Namespace) -> None:
    from mnad.report.page import ReportConfig, write_report

    out = write_report(build(ReportConfig, options), evaluation_options(options))
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB); open it in any browser, it needs no network")


COMMAND = Command(
    "mnad report runs/one",
    "all of it to look at, in one HTML file",
    "Make one HTML file of a scored run: figures, and each video with its pictures and its score.",
    "mnad report runs/ped2 --out ped2.html",
    _add_options,
    _run,
)
