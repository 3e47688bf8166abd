"""Weights that come as packages of their own: a model by its name alone, without a network or a folder."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from mnad.runtime.errors import CheckpointError

GROUP = "mnad.weights"


@cache
def installed_weights() -> dict[str, Path]:
    """Returns the folder of exported weights of each model that is installed, by its name.

    A package offers some by an entry point of the group ``mnad.weights`` that names a path: of a folder whose folders
    have the models' names.

    Raises:
        CheckpointError: If such a package cannot be imported or read, or two of them use one name.
    """
    found: dict[str, Path] = {}
    for entry in entry_points(group=GROUP):
        try:
            folders = sorted(Path(entry.load()).iterdir())
        except Exception as error:  # of a package that is not ours
            raise CheckpointError(f"the weights {entry.value} cannot be found: {error}; install them again") from error
        models = {path.name: path for path in folders if (path / "manifest.json").is_file()}
        for name in models.keys() & found.keys():
            raise CheckpointError(f"two packages have weights called {name}: {found[name]} and {models[name]}")
        found |= models
    return found
