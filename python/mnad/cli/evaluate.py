"""``mnad evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command

if TYPE_CHECKING:
    from mnad.metrics import Evaluation


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="A run's folder, or a file of measurements.")
    parser.add_argument(
        "--lambda",
        dest="score_weight",
        type=float | None,
        default=None,
        help="Share of PSNR in the score, from 0 to 1; the published value of the task if left out.",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")


def _run(options: Namespace) -> None:
    from mnad.measurements import load_measurements
    from mnad.metrics import evaluate

    evaluation = evaluate(load_measurements(options.run), options.score_weight)
    if options.json:
        from dataclasses import asdict

        print(json.dumps(asdict(evaluation), indent=2))
    else:
        _print_evaluation(evaluation)


def _print_evaluation(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    protocol = evaluation.protocol
    undefined = [name for name, auc in evaluation.auc_by_video.items() if auc is None]
    macro = "undefined" if evaluation.macro_auc is None else f"{100 * evaluation.macro_auc:.2f} %"
    left_out = f" (without {', '.join(undefined)}: one kind of frame only)" if undefined else ""
    threshold = "" if protocol["threshold"] is None else f", where E_t < {protocol['threshold']}"
    rows = {
        "frame AUC, pooled": f"{100 * evaluation.auc:.2f} %",
        "frame AUC, mean of videos": macro + left_out,
        "frames scored": f"{evaluation.frames:,}, {evaluation.abnormal:,} abnormal",
        "labels": str(protocol["labels"]),
        "score": f"lambda {evaluation.score_weight:g}, P and D normalised {evaluation.normalisation}",
        "test-time update": f"{protocol['update']}{threshold}; {evaluation.updates:,} updates",
        "model": f"{protocol['preset']}, epoch {protocol['epoch']}, size {protocol['size']}",
    }
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/bold]", value)
    Console(highlight=False).print(table)


COMMAND = Command(
    "mnad evaluate runs/one",
    "AUC, with the protocol it was computed by",
    "Turn measurements into AUCs, with the protocol they were computed by.",
    "mnad evaluate runs/ped2 --lambda 0.6",
    _add_options,
    _run,
)
