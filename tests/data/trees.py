"""Small data sets in the exact layouts in which people have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

Image = NDArray[np.uint8]
SIZE = (40, 48)


@dataclass(frozen=True)
class Clip:
    """A video to be written: its frames (F, H, W, 3), and masks (F, H, W) whose frames are abnormal where not empty."""

    frames: Image
    masks: NDArray[np.bool_]

    @property
    def labels(self) -> NDArray[np.bool_]:
        return self.masks.any(axis=(1, 2))


def make_clip(length: int, seed: int, *, events: Sequence[tuple[int, int]] = (), colour: bool = True) -> Clip:
    """A smooth picture that moves, so that codecs keep it; masks in events [first, last], counted from 0."""
    height, width = SIZE
    random = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(random.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 3)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    if not colour:
        picture[:] = picture[..., :1]
    masks = np.zeros((length, height, width), np.bool_)
    for first, last in events:
        masks[first : last + 1, 10:20, 12:30] = True
    return Clip(np.stack([np.roll(picture, 2 * index, axis=1) for index in range(length)]), masks)


def write_images(folder: Path, images: Sequence[Image], name: str = "{:03d}.jpg", first: int = 0) -> None:
    folder.mkdir(parents=True)
    for index, image in enumerate(images, first):
        assert cv2.imwrite(str(folder / name.format(index)), image, [cv2.IMWRITE_JPEG_QUALITY, 100])


def write_video(path: Path, frames: Image, codec: str = "MJPG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, frames.shape[2:0:-1])
    for frame in frames:
        writer.write(frame)
    writer.release()


def pictures_of(masks: NDArray[np.bool_]) -> Image:
    return masks.astype(np.uint8) * 255


def write_frames_layout(
    root: Path, training: Mapping[str, Clip], testing: Mapping[str, Clip], *, masks: bool = False
) -> None:
    for split, clips in {"training": training, "testing": testing}.items():
        for name, clip in clips.items():
            write_images(root / split / "frames" / name, clip.frames, "{:03d}.png")
            if masks and split == "testing":
                write_images(root / split / "masks" / name, pictures_of(clip.masks), "{:03d}.png")


def write_ucsd(root: Path, training: Sequence[Clip], testing: Sequence[Clip], *, script: bool = True) -> None:
    """Names are counted from 1; every third clip's masks are named frame001.bmp; events stand in a MATLAB script."""
    lines = ["TestVideoFile = {};"]
    for index, clip in enumerate(training, 1):
        write_images(root / f"Train/Train{index:03d}", clip.frames[..., 0], "{:03d}.tif", first=1)
    for index, clip in enumerate(testing, 1):
        write_images(root / f"Test/Test{index:03d}", clip.frames[..., 0], "{:03d}.tif", first=1)
        name = "frame{:03d}.bmp" if index % 3 == 1 else "{:03d}.bmp"
        write_images(root / f"Test/Test{index:03d}_gt", pictures_of(clip.masks), name, first=1)
        ranges = ", ".join(f"{first + 1}:{last + 1}" for first, last in events_of(clip.labels))
        lines.append(f"TestVideoFile{{end+1}}.gt_frame = [{ranges}];")
    if script:
        (root / "Test/UCSDped2.m").write_text("\n".join(lines) + "\n")


def write_avenue(root: Path, training: Sequence[Clip], testing: Sequence[Clip]) -> None:
    """Videos are named 01.avi, their masks 1_label.mat."""
    for index, clip in enumerate(training, 1):
        write_video(root / f"training_videos/{index:02d}.avi", clip.frames)
    folder = root / "ground_truth_demo/testing_label_mask"
    folder.mkdir(parents=True)
    for index, clip in enumerate(testing, 1):
        write_video(root / f"testing_videos/{index:02d}.avi", clip.frames)
        cells = np.empty((1, len(clip.masks)), dtype=object)
        for frame, mask in enumerate(clip.masks):
            cells[0, frame] = mask.astype(np.uint8)
        savemat(folder / f"{index}_label.mat", {"volLabel": cells}, do_compression=True)


def write_shanghaitech(
    root: Path, training: Mapping[str, Clip], testing: Mapping[str, Clip], videos: str = "videos"
) -> None:
    for name, clip in training.items():
        write_video(root / "training" / videos / f"{name}.avi", clip.frames)
    for folder in ("test_frame_mask", "test_pixel_mask"):
        (root / "testing" / folder).mkdir(parents=True)
    for name, clip in testing.items():
        write_images(root / "testing/frames" / name, clip.frames)
        np.save(root / f"testing/test_frame_mask/{name}.npy", clip.labels.astype(np.int64))
        np.save(root / f"testing/test_pixel_mask/{name}.npy", clip.masks)


def events_of(labels: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last frame of each run of abnormal frames, counted from 0."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def cut_tail(path: Path, keep: float) -> None:
    """Breaks a file off."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
