"""What a report is made of: the files of a run, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from mnad.artifacts.checkpoint import Checkpoint, checkpoint_file, holds_checkpoint, load_checkpoint, located
from mnad.artifacts.curves import curves_file, read_curves
from mnad.artifacts.maps import FrameMaps, load_maps, maps_beside
from mnad.artifacts.measurements import Measurements, load_measurements, measurements_file
from mnad.evaluation.checks import check_same_model
from mnad.runtime.errors import DataError

# Earlier versions called the folder figures.
PLOTS = ("plots", "figures")
Curves = dict[str, list[float | None]]


@dataclass(frozen=True)
class Material:
    """A run that was trained and scored.

    Attributes:
        run: Its folder.
        checkpoint: The trained model.
        measurements: Of the test frames.
        maps: Of the same frames.
        curves: The columns of ``curves/metrics.csv``, a value for each epoch, None where it is not finite or not
            there; no columns if there is no file.
        plots: The plots of ``mnad plots``, PNG, by name.
    """

    run: Path
    checkpoint: Checkpoint
    measurements: Measurements
    maps: FrameMaps
    curves: Curves
    plots: tuple[Path, ...]


def load_material(run: Path, measurements: Path | None = None) -> Material:
    """Reads all of it.

    Args:
        run: The folder of a run.
        measurements: The file of measurements, with its maps beside it; the run's own if None.

    Raises:
        DataError: If a file is missing, of another version, or belongs to other frames; it says what makes it.
        CheckpointError: If the checkpoint cannot be read.
    """
    if not run.is_dir():
        raise DataError(f"there is no folder {run}; name the folder that mnad train --out has written")
    file = measurements or measurements_file(run)
    _check_complete(run, file)
    measured = load_measurements(file)
    maps = load_maps(maps_beside(file), measured)
    checkpoint = load_checkpoint(run)
    check_same_model(measured, checkpoint.describe(), f"the checkpoint in {run}")
    if len(measured) == 0:
        raise DataError(f"{file} holds no frames: there is nothing to show")
    plots = [plot for folder in PLOTS for plot in (run / folder).glob("*.png")]
    return Material(
        run=run,
        checkpoint=checkpoint,
        measurements=measured,
        maps=maps,
        curves=_columns(run),
        plots=tuple(sorted(plots, key=lambda plot: plot.name)),
    )


def _columns(run: Path) -> Curves:
    if not curves_file(run).is_file():
        return {}
    epochs = read_curves(run)
    names = dict.fromkeys(name for epoch in epochs for name in epoch)
    return {name: [value if isfinite(value := epoch.get(name, nan)) else None for epoch in epochs] for name in names}


def _check_complete(run: Path, file: Path) -> None:
    made_by = {file: _score(run, file), maps_beside(file): _score(run, file)}
    missing = {path: command for path, command in made_by.items() if not path.is_file()}
    if not holds_checkpoint(located(run)):
        missing = {checkpoint_file(run): f"mnad train --data DATA --out {run}", **missing}
    if missing:
        names = ", ".join(path.name if path.parent == run else str(path) for path in missing)
        commands = "; then ".join(dict.fromkeys(missing.values()))
        raise DataError(f"the run {run} is not complete, it lacks {names}; make what is missing with: {commands}")


def _score(run: Path, file: Path) -> str:
    out = "" if file == measurements_file(run) else f" --out {file}"
    return f"mnad score {run} --data DATA --maps{out}"
