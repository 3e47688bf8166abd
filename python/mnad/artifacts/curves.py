"""What was logged of each epoch of a run."""

from __future__ import annotations

import csv
from pathlib import Path

from mnad.runtime.errors import DataError
from mnad.runtime.files import input_errors


def read_curves(run: Path) -> list[dict[str, float]]:
    """Reads a run's ``curves/metrics.csv``: a dictionary an epoch, of what was logged of it.

    Raises:
        DataError: If it is not there or cannot be read.
    """
    return read_rows(curves_file(run), run)


def curves_file(run: Path) -> Path:
    """Names the file of a run's curves."""
    return run / "curves" / "metrics.csv"


def usage_column(item: int) -> str:
    """Names the column with an item's share of the queries."""
    return f"usage_{item:02d}"


def read_rows(path: Path, run: Path) -> list[dict[str, float]]:
    """Reads curves from any file, in the name of a run."""
    if not path.is_file():
        raise DataError(
            f"cannot read the curves of {run}: there is no {path}; it should be a folder that mnad train made"
        )
    with input_errors(path, "a file of curves", DataError), path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
