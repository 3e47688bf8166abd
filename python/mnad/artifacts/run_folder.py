"""The folder of a run: never two runs in one."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from mnad.artifacts.checkpoint import epochs_done, holds_checkpoint
from mnad.runtime.errors import CheckpointError, ConfigError
from mnad.runtime.progress import print_line

# All that mnad's commands write into the folder of a run, but for train.log, which tells of all that were there.
OF_A_RUN = (
    "checkpoint.safetensors", "checkpoints", "curves", "tensorboard", "wandb",
    "measurements*.npz", "measurements*.log",
    "manifest.json", "weights-*-of-*.safetensors",
    "evaluation.json", "frames.csv", "videos.csv", "sweep.csv", "events.csv", "plots", "figures", "report.html",
)  # fmt: skip


def check_run_folder(out: Path, *, overwrite: bool, resumable: bool = True) -> None:
    """Makes sure that a new run does not begin where another one lies.

    Args:
        out: The folder, which need not be there.
        overwrite: Whether the new run is to take the other's place.
        resumable: Whether the command can go on with the other one, for the message.

    Raises:
        ConfigError: If one does and it is not to be overwritten.
    """
    if overwrite or not (found := _of_a_run(out)):
        return
    what = f"files of a run ({', '.join(path.name for path in found[:3])})"
    own = holds_checkpoint(out)
    if own:
        with suppress(CheckpointError):  # a damaged one
            what = f"a run (epoch {epochs_done(out)})"
    resume = "--resume goes on with it, " if resumable and own else ""
    raise ConfigError(
        f"{out} holds {what} already: {resume}--overwrite removes it and all that was measured of it, or name another "
        "folder"
    )


def clear_run_folder(out: Path) -> None:
    """Removes all of an earlier run from a folder; other files stay."""
    if found := _of_a_run(out):
        print_line(f"removing the earlier run in {out}: {', '.join(path.name for path in found)}")
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _of_a_run(out: Path) -> list[Path]:
    return [path for pattern in OF_A_RUN for path in sorted(out.glob(pattern))]
