"""What is logged of each epoch: always as CSV, to TensorBoard and Weights & Biases if asked for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import count, takewhile
from pathlib import Path

from lightning.fabric import Fabric
from lightning.fabric.loggers.csv_logs import CSVLogger
from lightning.fabric.loggers.logger import Logger

from mnad.artifacts.curves import curves_file, read_rows, usage_column
from mnad.artifacts.run_folder import clear_run_folder
from mnad.models.memory_health import MemoryHealth
from mnad.runtime.errors import ConfigError
from mnad.training.config import LoggerName, TrainConfig
from mnad.training.state import TrainingState


def begin_logs(fabric: Fabric, config: TrainConfig, epoch: int) -> None:
    """Sets up the loggers of a run; the curves of a resumed run go on after the rows of its finished epochs.

    An earlier run is removed only here, after all options and the data were checked.
    """
    fabric._loggers = []
    if not fabric.is_global_zero:
        return
    others = [_logger(name, config.out) for name in config.loggers]
    if not config.resume:
        clear_run_folder(config.out)
    file = curves_file(config.out)
    kept = file.with_name(f"{file.name}.kept")  # the logger deletes the file when it opens it
    if epoch > 0 and file.exists() and not kept.exists():
        file.replace(kept)
    earlier = _rows_until(epoch, kept, config.out) if epoch > 0 else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the file is written anew is what is wanted
        curves = CSVLogger(config.out, name="", version="curves", flush_logs_every_n_steps=1)
        for row in earlier:
            curves.log_metrics({name: value for name, value in row.items() if name != "step"}, int(row["step"]))
    kept.unlink(missing_ok=True)
    fabric._loggers = [curves, *others]


def log_epoch(
    fabric: Fabric, state: TrainingState, means: dict[str, float], health: MemoryHealth | None, samples: float
) -> None:
    """Logs an epoch that has just been finished."""
    rate = float(state.optimizer.param_groups[0]["lr"])
    values = means | {"learning_rate": rate, "samples_per_second": samples}
    if health is not None:
        values |= {
            "items_in_use": float(health.items_in_use),
            "usage_perplexity": health.perplexity,
            "mean_cosine": health.mean_cosine,
            "positional_share": health.positional_share,
            "entropy_bits": health.entropy_bits,
            "entropy_at_position_bits": health.entropy_at_position_bits,
            **{usage_column(item): share for item, share in enumerate(health.histogram)},
        }
    fabric.log_dict(values, step=state.epoch)


def logged_health(row: Mapping[str, float]) -> MemoryHealth | None:
    """Returns the memory's health as :func:`log_epoch` logged it in a row of the curves; None without a memory."""
    if "items_in_use" not in row:
        return None
    return MemoryHealth(
        items_in_use=int(row["items_in_use"]),
        perplexity=row["usage_perplexity"],
        mean_cosine=row["mean_cosine"],
        positional_share=row["positional_share"],
        entropy_bits=row["entropy_bits"],
        entropy_at_position_bits=row["entropy_at_position_bits"],
        histogram=tuple(row[name] for name in takewhile(row.__contains__, map(usage_column, count()))),
    )


def _rows_until(epoch: int, file: Path, run: Path) -> list[dict[str, float]]:
    if not file.exists():
        warnings.warn(f"{curves_file(run)} is gone: the curves begin with epoch {epoch + 1}", stacklevel=2)
        return []
    return [row for row in read_rows(file, run) if row.get("step", epoch + 1) <= epoch]


def _logger(name: LoggerName, out: Path) -> Logger:
    try:
        if name == "tensorboard":
            from lightning.fabric.loggers.tensorboard import TensorBoardLogger

            return TensorBoardLogger(out, name="", version="tensorboard")
        from lightning.pytorch.loggers.wandb import WandbLogger

        return WandbLogger(project="mnad", save_dir=str(out), offline=True)
    except ModuleNotFoundError as error:
        raise ConfigError(f"the logger {name} is not installed: pip install mnad-ext[{name}] ({error})") from error
