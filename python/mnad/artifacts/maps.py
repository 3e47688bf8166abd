"""Maps of each scored frame: where the error is, where the queries lie far from the items, and the pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.runtime.errors import DataError
from mnad.runtime.files import atomic_write, input_errors
from mnad.runtime.places import Place, PlaceT, is_file, readable

FORMAT = "mnad-maps/2"
ERROR_GRID, PICTURE_SIZE = 64, 128
ROWS = ("video", "frame", "mse")  # of the measurements, by which their maps are known


@dataclass(frozen=True)
class FrameMaps:
    """Maps of the N scored frames, row for row with their :class:`mnad.artifacts.measurements.Measurements`.

    Attributes:
        error: (N, G, G) float16, the squared error of the restored frame on the scale [0, 1], mean of the channels and
            of the pixels of each cell; G is the frames' size, at most 64.
        distance: (N, h, w) float16, the squared L2 distance of each query from its nearest item, from 0 to 4; None for
            a model without memory. D is its mean over C.
        target: (N, S, S, 1 or 3) uint8, the frames that were to be restored, BGR; S is their size, at most 128.
        restored: (N, S, S, 1 or 3) uint8, what the model gave.
    """

    error: NDArray[np.float16]
    distance: NDArray[np.float16] | None
    target: NDArray[np.uint8]
    restored: NDArray[np.uint8]

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.error)


def maps_beside(measurements: PlaceT) -> PlaceT:
    """Returns the place of the maps that belong to a file of measurements.

    Example:
        >>> from pathlib import Path
        >>> maps_beside(Path("runs/one/measurements.npz")).name
        'measurements.maps.npz'
    """
    return measurements.with_suffix(".maps.npz")


def save_maps(path: Place, maps: FrameMaps, measurements: Measurements) -> None:
    """Writes maps of some measurements as a compressed .npz without objects; whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    arrays = {field.name: getattr(maps, field.name) for field in fields(maps)}
    present = {name: array for name, array in arrays.items() if array is not None}
    rows = {name: getattr(measurements, name) for name in ROWS}
    header = {"format": FORMAT, "videos": measurements.videos, **_pass_of(measurements)}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **rows, **present)


def load_maps(path: Place, measurements: Measurements) -> FrameMaps:
    """Reads maps.

    Args:
        path: The file, as :func:`maps_beside` names it.
        measurements: What was measured in the same pass.

    Raises:
        DataError: If there are none, the file does not hold maps, or those of other measurements.
    """
    check_maps(path, measurements)
    with input_errors(path, "a file of maps", DataError), np.load(readable(path), allow_pickle=False) as stored:
        maps = FrameMaps(stored["error"], stored.get("distance"), stored["target"], stored["restored"])
        if len(maps) != len(measurements):
            raise DataError(f"{path} is damaged: it names {len(measurements):,} frames and holds {len(maps):,}")
    return maps


def check_maps(path: Place, measurements: Measurements) -> None:
    """Makes sure that maps are those of some measurements, without reading the maps themselves.

    Raises:
        DataError: As :func:`load_maps`.
    """
    if not is_file(path):
        raise DataError(f"there are no maps at {path}; make them with: mnad score {path.parent} --data DATA --maps")
    with input_errors(path, "a file of maps", DataError), np.load(readable(path), allow_pickle=False) as stored:
        header = json.loads(str(stored["header"]))
        if header.get("format") != FORMAT:
            raise DataError(f"{path} holds {header.get('format')!r}, not {FORMAT}")
        rows = {name: stored[name] for name in ROWS}
    if not _are_of_one_pass(header, rows, measurements):
        raise DataError(
            f"{path} holds maps of {len(rows['frame']):,} frames of another pass than the {len(measurements):,} "
            f"measured ones: make both anew with: mnad score {path.parent} --data DATA --maps"
        )


def _are_of_one_pass(header: dict[str, Any], rows: dict[str, NDArray[Any]], measurements: Measurements) -> bool:
    ours = _pass_of(measurements)
    # Earlier versions wrote of these the weights alone, and knew nothing to be usual.
    known = {**ours, "usual": None, **header}
    same_pass = ours["weights"] is not None and all(known[name] == value for name, value in ours.items())
    same_frames = header.get("videos") == list(measurements.videos) and all(
        np.array_equal(rows[name], getattr(measurements, name)) for name in ("video", "frame")
    )
    # Another size of batch moves the last bits.
    return same_pass and same_frames and np.allclose(rows["mse"], measurements.mse, rtol=1e-3, atol=0)


def _pass_of(measurements: Measurements) -> dict[str, Any]:
    """Returns the choices that tell one pass over the frames from another."""
    names = ("weights", "usual", "update", "update_threshold", "precision")
    return {name: measurements.protocol.get(name) for name in names}
