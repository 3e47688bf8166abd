"""Reads one variable of a MATLAB file in a process of its own, as :mod:`mnad.data.matlab` starts it.

    python matlab_process.py FILE KEY OUT

SciPy can crash at a damaged file; then only this process is lost. The shape and the class of KEY are printed. OUT, if
named, becomes an .npz without objects: ``shape`` and the cells by their number, or ``values`` alone.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np
from scipy.io.matlab import loadmat, whosmat

INFLATED = 1032  # times that deflate can shrink a file at most
DECODED = 16  # bytes in memory for each inflated byte: numbers of 1 byte become doubles, and are copied once
WORKING_MEMORY = 256 << 20


def limit_memory(path: str) -> None:
    """Refuses the memory that a damaged shape asks for, more than the file's size can account for.

    Only where the system tells how much is in use, as Linux does.
    """
    statistics = Path("/proc/self/statm")
    if not statistics.is_file():
        return
    in_use = int(statistics.read_text().split()[5]) * resource.getpagesize()
    most = in_use + WORKING_MEMORY + Path(path).stat().st_size * INFLATED * DECODED
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


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
        limit_memory(sys.argv[1])
        read(*sys.argv[1:])
    except MemoryError:
        sys.exit("its arrays are larger than a file of its size can hold, or than the memory")
    except Exception as error:  # a damaged file leads SciPy into many kinds of them
        sys.exit(f"{type(error).__name__}: {error}")
