"""The steps from video to a calibrated model as functions: each is the command of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mnad.evaluation.calibration import Calibration
from mnad.pipeline.calibrate import CalibrateConfig
from mnad.pipeline.calibrate import calibrate as calibrate_by
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.export import ExportConfig
from mnad.pipeline.export import export as export_by
from mnad.pipeline.outcome import Outcome, write_outcome
from mnad.pipeline.score import ScoreConfig
from mnad.pipeline.score import score as score_by
from mnad.runtime.places import Place, as_typed
from mnad.training import TrainConfig
from mnad.training import train as train_by

T = TypeVar("T")


def train(data: str | Place, out: str | Path, **options: Any) -> Path:
    """Trains a model on normal video, as ``mnad train``.

    Args:
        data: A data set in any known layout, a video, or a clip store; or the address of videos, as s3://bucket/gate.
        out: The run's folder.
        **options: Fields of :class:`mnad.training.TrainConfig`, such as ``preset`` or ``epochs``.

    Returns:
        The checkpoint.

    Raises:
        MnadError: If options, data or the folder are not as they should be, or training diverges.

    Example:
        >>> import mnad
        >>> checkpoint = mnad.train("data/gate", "runs/new", size=32, width=4, epochs=1)  # doctest: +ELLIPSIS
        training frames of data/gate: ...
        epoch 1/1 ...
        >>> checkpoint.name
        'checkpoint.safetensors'
    """
    return train_by(_config(TrainConfig, data=data, out=out, **options))


def score(run: str | Path, data: str | Place, **options: Any) -> Place:
    """Measures every test frame with a trained model, as ``mnad score``.

    Args:
        run: A run's folder, or a checkpoint.
        data: A data set in any known layout, a video, or a clip store; or the address of videos, as s3://bucket/gate.
        **options: Fields of :class:`mnad.pipeline.score.ScoreConfig`, such as ``maps``.

    Returns:
        The file of measurements, which :func:`evaluate` takes.

    Raises:
        MnadError: If options, data or checkpoint are not as they should be.
    """
    return score_by(_config(ScoreConfig, run=run, data=data, **options))


def calibrate(run: str | Path, data: str | Place, **options: Any) -> Calibration:
    """Finds alarm thresholds from normal video alone and stores them in the checkpoint, as ``mnad calibrate``.

    Args:
        run: A run's folder, a checkpoint, or a folder of exported weights.
        data: The training data; the ends of the videos are used.
        **options: Fields of :class:`mnad.pipeline.calibrate.CalibrateConfig`, such as ``fps``.

    Returns:
        The calibration, which :class:`mnad.Detector` uses.

    Raises:
        MnadError: If options, data or checkpoint are not as they should be.
    """
    return calibrate_by(_config(CalibrateConfig, run=run, data=data, **options))


def export(run: str | Path, out: str | Path, **options: Any) -> Path:
    """Writes a trained model for other runtimes, as ``mnad export``.

    Args:
        run: A run's folder, a checkpoint, or a folder of exported weights.
        out: The folder to make, which :class:`mnad.ExportedModel` opens.
        **options: Fields of :class:`mnad.pipeline.export.ExportConfig`, such as ``format``.

    Returns:
        The folder.

    Raises:
        MnadError: If options, frames or checkpoint are not as they should be, or the graphs give other values.

    Example:
        >>> import mnad
        >>> folder = mnad.export("runs/gate", "exports/gate", format="pt2")  # doctest: +ELLIPSIS
        training frames ...
        >>> mnad.ExportedModel.open(folder).metadata["size"]
        '32'
    """
    return export_by(_config(ExportConfig, run=run, out=out, **options))


def evaluate(run: str | Place, **options: Any) -> Outcome:
    """Turns the measurements of a run into scores, AUCs and alarms, as ``mnad evaluate``.

    Args:
        run: A run's folder, or a file of measurements, or the address of one.
        **options: Fields of :class:`mnad.pipeline.evaluate.EvaluateConfig`, such as ``threshold``.

    Returns:
        Scores, choices and metrics.

    Raises:
        MnadError: If options or files do not fit each other.

    Example:
        >>> import mnad
        >>> outcome = mnad.evaluate("runs/gate", threshold="calibrated")
        >>> outcome.scores.shape == (outcome.evaluation.frames,)
        True
    """
    config = _config(EvaluateConfig, run=run, **options)
    outcome = evaluate_run(config)
    if config.out is not None:
        write_outcome(config.out, outcome)
    return outcome


def _config(kind: type[T], **options: Any) -> T:
    """Makes a config dataclass of options as people write them: paths as text, several values as a list or one."""
    types = get_type_hints(kind)
    return kind(**{name: _as_written(name, value, types.get(name)) for name, value in options.items()})


def _as_written(name: str, value: Any, kind: Any) -> Any:
    kinds = (kind, *get_args(kind))
    if value is not None and any(get_origin(each) is tuple for each in kinds):
        return tuple(value) if isinstance(value, list | tuple) else (value,)
    return as_typed(name, value, kind)
