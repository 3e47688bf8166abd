"""The options of an evaluation, for the commands that show one."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import add_score_weight

# What such a command sets itself, or has another option for.
OTHERS = {"run", "score_weight", "sweep", "bootstrap", "seed", "out", "fps"}


def add_evaluation_options(parser: ArgumentParser) -> None:
    """Adds them."""
    from mnad.pipeline.evaluate import EvaluateConfig

    add_score_weight(parser)
    parser.add_class_arguments(EvaluateConfig, as_group=False, skip=OTHERS)


def evaluation_options(options: Namespace) -> dict[str, Any]:
    """Gives them by the names of the fields."""
    from dataclasses import fields

    from mnad.pipeline.evaluate import EvaluateConfig

    names = {field.name for field in fields(EvaluateConfig)} - OTHERS
    return {name: options[name] for name in (*names, "score_weight")}
