"""``mnad evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, add_score_weight, build


def _add_options(parser: ArgumentParser) -> None:
    from mnad.pipeline.evaluate import EvaluateConfig

    parser.add_argument("run", type=Path, help="A run's folder, or a file of measurements.")
    add_score_weight(parser)
    parser.add_class_arguments(EvaluateConfig, as_group=False, skip={"run", "score_weight"})
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")


def _run(options: Namespace) -> None:
    from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
    from mnad.pipeline.evaluation_files import write_outcome
    from mnad.report.evaluation_table import print_outcome

    config = build(EvaluateConfig, options)
    outcome = evaluate_run(config)
    if options.json:
        print(json.dumps(outcome.as_dict(), indent=2))
    else:
        print_outcome(outcome)
    if config.out is not None:
        written = write_outcome(config.out, outcome)
        if not options.json:
            print(f"wrote {', '.join(map(str, written))}")


COMMAND = Command(
    "mnad evaluate runs/one",
    "AUC, with the protocol it was computed by",
    "Turn measurements into AUCs and events, with all the choices that they were computed by.",
    "mnad evaluate runs/ped2 --lambda 0.6 --sweep true --bootstrap 1000 --out runs/ped2/evaluation",
    _add_options,
    _run,
)
