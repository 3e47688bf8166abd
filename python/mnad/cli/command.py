"""What a subcommand is made of.

Options are the fields of the config dataclasses; jsonargparse turns them into flags, reads them from YAML by
``--config``, and explains them in ``--help``. What a subcommand needs beside them is imported in its functions: the
others must not wait for torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from jsonargparse import ArgumentParser, Namespace


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        call: The simplest way to call it, for the overview.
        purpose: What it is for, in a few words, for the overview.
        summary: What it does, in a sentence.
        example: A call with options.
        add_options: Makes its options.
        run: Does it; gives the exit status, or None for 0.
    """

    call: str
    purpose: str
    summary: str
    example: str
    add_options: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int | None]


def build(config: Callable[..., Any], options: Namespace) -> Any:
    """Makes a config dataclass of the options of its fields."""
    names = [field.name for field in fields(config)]  # type: ignore[arg-type]
    return config(**{name: options[name] for name in names})


def add_score_weight(parser: ArgumentParser) -> None:
    """Adds ``--lambda``, which no field can be called."""
    parser.add_argument(
        "--lambda",
        dest="score_weight",
        type=float | None,
        default=None,
        help="Share of PSNR in the score, from 0 to 1; the published value of the task if left out.",
    )
