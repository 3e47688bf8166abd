"""``mnad figures``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, build


def _add_options(parser: ArgumentParser) -> None:
    from mnad.report.run_plots import FiguresConfig

    parser.add_argument("run", type=Path, help="A run's folder, trained and scored.")
    parser.add_class_arguments(FiguresConfig, as_group=False, skip={"run"})


def _run(options: Namespace) -> None:
    from mnad.report.run_plots import FiguresConfig, draw_run_figures

    for picture in draw_run_figures(build(FiguresConfig, options)):
        print(f"wrote {picture}")


COMMAND = Command(
    "mnad figures runs/one --data data/circles",
    "draw where queries and items lie (t-SNE, PCA)",
    "Draw where a run's queries and items lie (t-SNE and PCA), how the items are used, and what each stands for.",
    "mnad figures runs/ped2 --data ped2 --frames 200",
    _add_options,
    _run,
)
