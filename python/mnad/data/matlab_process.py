"""Reads one variable of a MATLAB file in a process of its own, as :mod:`mnad.data.matlab` starts it.

    python matlab_process.py FILE KEY OUT

SciPy can crash at a damaged file; then only this process is lost. The shape and the class of KEY are printed. OUT, if
named, becomes an .npz without objects: ``shape`` and the cells by their number, or ``values`` alone.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from scipy.io.matlab import loadmat, whosmat


def read(path: str, key: str, out: str | None = None) -> None:
    """Prints which shape and class a variable has, if it is there, and writes its values."""
    variables = {name: (shape, kind) for name, shape, kind in whosmat(path)}
    print(json.dumps({"found": variables.get(key), "names": list(variables)}))
    if out is None or key not in variables:
        return
    values = np.asarray(loadmat(path, variable_names=[key])[key])
    if values.dtype != object:
        np.savez(out, allow_pickle=False, values=values)
        return
    cells = {f"cell{number}": np.asarray(cell) for number, cell in enumerate(values.reshape(-1))}
    np.savez(out, allow_pickle=False, shape=np.array(values.shape), **cells)


if __name__ == "__main__":
    try:
        read(*sys.argv[1:])
    except Exception as error:  # a damaged file leads SciPy into many kinds of them
        sys.exit(f"{type(error).__name__}: {error}")
