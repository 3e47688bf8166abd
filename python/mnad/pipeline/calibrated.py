"""The calibration that belongs to some measurements, and how well it fits them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

from mnad.artifacts.checkpoint import Checkpoint, holds_checkpoint, load_checkpoint
from mnad.artifacts.measurements import Measurements
from mnad.evaluation.calibration import Calibration
from mnad.evaluation.checks import check_same_model, is_same_model
from mnad.measuring.usual import Usual
from mnad.runtime.errors import DataError


def find_calibration(folder: Path, measurements: Measurements) -> Calibration:
    """Reads the calibration out of the checkpoint that was measured.

    Args:
        folder: Where the measurements lie; the checkpoint is looked for there, and where it was when it was measured.
        measurements: By that checkpoint.

    Raises:
        DataError: If it is of another model, there is none, or the frames were not measured in relation to what it
            found usual, though it counts so.
        CheckpointError: If the checkpoint cannot be read.
    """
    path, checkpoint = _measured_by(folder, measurements)
    if checkpoint.calibration is None:
        raise DataError(f"the checkpoint {path} holds no calibration; make one with: mnad calibrate {path} --data DATA")
    calibration = Calibration.from_dict(checkpoint.calibration, path)
    if calibration.usual is not None and measurements.protocol.get("usual") != calibration.usual:
        raise DataError(
            "the frames were measured before the model was calibrated, or by another calibration, so what is usual at "
            f"each place was not known; score them again with: mnad score {path} --data DATA"
        )
    return calibration


def find_usual(folder: Path, measurements: Measurements) -> Usual:
    """Reads what is usual at each place out of the checkpoint by which frames were measured in relation to it.

    Raises:
        DataError: If the checkpoint is of another model, or was calibrated again meanwhile.
        CheckpointError: If it cannot be read.
    """
    path, checkpoint = _measured_by(folder, measurements)
    usual = Usual.of(checkpoint, path)
    if usual is None or usual.identity != measurements.protocol.get("usual"):
        raise DataError(
            f"the model in {path} was calibrated after the frames were measured; score them again with: mnad score "
            f"{path} --data DATA"
        )
    return usual


def other_update(measurements: Measurements, calibration: Calibration) -> str:
    """Returns how the test-time update of the measurements differs from the calibration's; nothing if it does not."""
    measured_by = (measurements.protocol["update"], measurements.protocol["update_threshold"])
    if measured_by == (calibration.update, calibration.update_threshold):
        return ""
    return (
        f"the calibration is for the test-time update {calibration.update} (threshold "
        f"{calibration.update_threshold}), but the frames were measured with {measured_by[0]} ({measured_by[1]})"
    )


def warn_of_misfit(measurements: Measurements, calibration: Calibration, fps: float | None) -> None:
    """Warns where alarms will not come as often as the calibration promises.

    Args:
        measurements: To which the calibration is put.
        calibration: Of the same model.
        fps: Frames a second, where the videos say so and nobody else does.
    """
    if misfit := other_update(measurements, calibration):
        warnings.warn(misfit, stacklevel=2)
    if fps is not None and not math.isclose(fps, calibration.fps, rel_tol=0.01):
        warnings.warn(
            f"the calibration is for {calibration.fps:g} frames a second, but there are {fps:g}: expect "
            f"{fps / calibration.fps:.2g} times as many false alarms an hour; calibrate again at this rate",
            stacklevel=2,
        )
    if calibration.trained_on:
        warnings.warn(
            "the calibration was made on frames that the model was trained on; expect more false alarms than it says",
            stacklevel=2,
        )


def _measured_by(folder: Path, measurements: Measurements) -> tuple[Path, Checkpoint]:
    """Returns the checkpoint beside the measurements, or where it was when they were made."""
    then = Path(measurements.protocol.get("checkpoint", folder))
    if holds_checkpoint(folder):  # runs are copied and moved
        beside = load_checkpoint(folder)
        if is_same_model(measurements, beside.describe()) or not then.exists():
            then = folder
    checkpoint = beside if then == folder and holds_checkpoint(folder) else load_checkpoint(then)
    check_same_model(measurements, checkpoint.describe(), f"the checkpoint {then}")
    return then, checkpoint
