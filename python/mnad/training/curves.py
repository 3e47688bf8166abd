"""What was logged of each epoch of a run."""

from __future__ import annotations

import csv
from pathlib import Path

from mnad.errors import DataError


def read_curves(run: Path) -> list[dict[str, float]]:
    """Reads a run's ``curves/metrics.csv``: a dictionary an epoch, of what was logged of it.

    Raises:
        DataError: If it is not there or cannot be read.
    """
    return read_rows(curves_file(run), run)


def curves_file(run: Path) -> Path:
    """Names the file of a run's curves."""
    return run / "curves" / "metrics.csv"


def read_rows(path: Path, run: Path) -> list[dict[str, float]]:
    """Reads curves from any file, in the name of a run."""
    try:
        with path.open(newline="") as file:
            return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the curves of {run}: {error}; it should be a folder that mnad train made"
        ) from error
