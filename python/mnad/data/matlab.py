"""MATLAB files, read by SciPy in a process of its own: a damaged one may crash it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnad.data.downloads import local_copy
from mnad.runtime.errors import DataError
from mnad.runtime.files import input_errors
from mnad.runtime.places import Place, is_file

PROCESS = Path(__file__).with_name("matlab_process.py")


def load_matlab(path: Place, key: str) -> NDArray[Any]:
    """Reads one variable of a MATLAB file.

    Returns:
        Its values; cells as an array of arrays.

    Raises:
        DataError: If the file is missing or cannot be read, or has no such variable.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "values.npz"
        _variable(path, key, str(out))
        with input_errors(path, "a MATLAB file that can be read", DataError), np.load(out) as stored:
            if "values" in stored:
                return np.asarray(stored["values"])
            cells = np.empty(stored["shape"], object)
            for number, place in enumerate(np.ndindex(cells.shape)):
                cells[place] = stored[f"cell{number}"]
            return cells


def matlab_variable(path: Place, key: str) -> tuple[tuple[int, ...], str]:
    """Returns the shape and the class of a variable of a MATLAB file without reading it.

    Raises:
        DataError: If the file is missing or cannot be read, or has no such variable.
    """
    return _variable(path, key)


def _variable(path: Place, key: str, *out: str) -> tuple[tuple[int, ...], str]:
    if not is_file(path):
        raise DataError(f"the file {path} does not exist")
    with local_copy(path) as file:
        answer = json.loads(_run(path, file, key, *out))
    if answer["found"] is None:
        raise DataError(f"{path} has no variable {key}; it holds {', '.join(answer['names']) or 'nothing'}")
    shape, kind = answer["found"]
    return tuple(shape), kind


def _run(path: Place, file: Path, *arguments: str) -> str:
    command = [sys.executable, str(PROCESS), str(file), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    words = result.stderr.strip().splitlines()[-1:] or ["no word"]
    if result.returncode < 0:
        raise DataError(f"{path} cannot be read as a MATLAB file: it is damaged so that it crashes SciPy")
    if result.returncode and words[0].startswith("NotImplementedError"):
        raise DataError(f"{path} is a MATLAB 7.3 file; save it again with -v7 in MATLAB")
    if result.returncode:
        raise DataError(f"{path} cannot be read as a MATLAB file: {words[0]}")
    return result.stdout
