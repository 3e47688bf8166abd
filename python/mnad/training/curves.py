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
    path = run / "curves" / "metrics.csv"
    try:
        with path.open(newline="") as file:
            return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the curves of {run}: {error}; it should be a folder that mnad train made"
        ) from error
