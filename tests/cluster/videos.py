"""Small video files made on the spot."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def write_videos(folder: Path, count: int, frames: int = 20, size: int = 32) -> list[Path]:
    """Writes files of a picture that drifts, each another one, some faster."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"v{number:02d}.mp4" for number in range(count)]
    for number, file in enumerate(files):
        random = np.random.default_rng(number)
        picture = np.cumsum(random.normal(0, 20, (size, size, 3)), axis=1) + 128
        with av.open(str(file), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            for index in range(frames):
                moved = np.clip(np.roll(picture, index * (1 + number % 3), axis=1), 0, 255).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
            container.mux(stream.encode(None))
    return files
