"""One file of measurements for each video of a data set, so that what was done is not done again."""

from __future__ import annotations

from mnad.artifacts.measurements import Measurements, load_measurements
from mnad.runtime.files import atomic_write
from mnad.runtime.places import Place, PlaceT, files_below, remove_file


class VideoResults:
    """A folder of files of measurements, each named by its video and by a key of all that decides its content.

    So another model's measurements, or those of a video that has changed, are never taken for what is asked for.

    Args:
        folder: The folder, which need not be there; it may be an address.
    """

    def __init__(self, folder: Place) -> None:
        self.folder = folder
        self.known = files_below(folder)

    def __contains__(self, place: tuple[str, str]) -> bool:
        """Whether the file of a video, by its name and key, is there."""
        return _name(*place) in self.known

    def save(self, name: str, key: str, content: bytes) -> None:
        """Writes the file of a video, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        with atomic_write(self.folder / _name(name, key)) as temporary:
            temporary.write_bytes(content)
        self.known.add(_name(name, key))

    def remove(self, name: str, key: str) -> None:
        """Removes the file of a video."""
        remove_file(self.folder / _name(name, key))
        self.known.discard(_name(name, key))

    def load(self, name: str, key: str) -> Measurements:
        """Reads the measurements of a video.

        Raises:
            DataError: If the file is damaged.
        """
        return load_measurements(self.folder / _name(name, key))


def results_beside(measurements: PlaceT) -> PlaceT:
    """Returns the folder of the videos' files beside the file in which they are joined.

    Example:
        >>> from pathlib import Path
        >>> results_beside(Path("runs/one/measurements.npz")).name
        'measurements.videos'
    """
    return measurements.with_suffix(".videos")


def _name(name: str, key: str) -> str:
    return f"{name}-{key}.npz"
