"""One file of measurements for each video of a data set, so that what was done is not done again."""

from __future__ import annotations

from pathlib import Path

from mnad.artifacts.measurements import Measurements, load_measurements
from mnad.runtime.files import atomic_write


class VideoResults:
    """A folder of files of measurements, each named by its video and by a key of all that decides its content.

    So another model's measurements, or those of a video that has changed, are never taken for what is asked for.

    Args:
        folder: The folder, which need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known = set(folder.rglob("*.npz")) if folder.is_dir() else set()

    def __contains__(self, place: tuple[str, str]) -> bool:
        """Whether the file of a video, by its name and key, is there."""
        return self._file(*place) in self.known

    def save(self, name: str, key: str, content: bytes) -> None:
        """Writes the file of a video, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        file = self._file(name, key)
        with atomic_write(file) as temporary:
            temporary.write_bytes(content)
        self.known.add(file)

    def remove(self, name: str, key: str) -> None:
        """Removes the file of a video."""
        file = self._file(name, key)
        file.unlink(missing_ok=True)
        self.known.discard(file)

    def load(self, name: str, key: str) -> Measurements:
        """Reads the measurements of a video.

        Raises:
            DataError: If the file is damaged.
        """
        return load_measurements(self._file(name, key))

    def _file(self, name: str, key: str) -> Path:
        return self.folder / f"{name}-{key}.npz"


def results_beside(measurements: Path) -> Path:
    """Returns the folder of the videos' files beside the file in which they are joined.

    Example:
        >>> results_beside(Path("runs/one/measurements.npz")).name
        'measurements.videos'
    """
    return measurements.with_suffix(".videos")
