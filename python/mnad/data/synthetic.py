"""The synthetic data set: circles are normal; squares, faster circles and faster squares are not.

Objects cross the frame on straight lines and are replaced by new ones. In the middle of a test video one of them is
abnormal in the way that the video is for. A frame is labelled abnormal exactly where its pixel mask is not empty, as
in UCSD Ped2. Several scenes differ in background, size and number of objects, as the cameras of ShanghaiTech do.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.runtime.errors import ConfigError, DataError
from mnad.runtime.files import atomic_folder, input_errors

Kind = Literal["spatial", "temporal", "spatio-temporal", "slow", "still"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MANIFEST = "synthetic.json"
SUBPIXEL_BITS = 8


@dataclass(frozen=True)
class SyntheticSpec:
    """What the synthetic data set looks like; lengths in pixels at size 256 scale with the size.

    Attributes:
        size: Height and width of the frames in pixels.
        radius: Radius of a circle and half the side of a square, at size 256.
        speed: Pixels a frame of a normal object, at size 256.
        fast: Pixels a frame of an object that is too fast, at size 256.
        objects: Objects in the frame at a time.
        train_videos: Training videos, all normal.
        test_videos: Test videos of each kind.
        frames: Frames of a video.
        scenes: Scenes that the videos take turns in. The first is the paper's: ``objects`` objects of ``radius`` on
            black; each other one has a background, a size and a number of objects of its own.
        kinds: Kinds of anomaly: spatial (a square), temporal (a fast circle), spatio-temporal (a fast square), slow (a
            circle at half the speed), still (a circle that stops).
        seed: Repeats the data set exactly.
    """

    size: int = 256
    radius: float = 10
    speed: float = 5
    fast: float = 10
    objects: int = 2
    train_videos: int = 8
    test_videos: int = 2
    frames: int = 120
    scenes: int = 1
    kinds: tuple[Kind, ...] = ("spatial", "temporal", "spatio-temporal")
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("size", "radius", "speed", "fast", "objects", "train_videos", "test_videos", "frames", "scenes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        if unknown := set(self.kinds) - set(KINDS):
            raise ConfigError(f"kinds must be among {', '.join(KINDS)}, got {', '.join(sorted(unknown))}")


@dataclass(frozen=True)
class Scene:
    """What one camera sees: an empty background (size, size, 3), and how large and how many its objects are."""

    background: NDArray[np.uint8]
    radius: float
    objects: int


@dataclass(frozen=True)
class Flight:
    """One object's way across the frame, visible from frame ``start`` for ``duration`` frames.

    ``entry`` is its centre (x, y) at the start, ``velocity`` in pixels a frame until it stops ``moving`` frames later.
    """

    start: float
    duration: float
    moving: float
    entry: NDArray[np.float64]
    velocity: NDArray[np.float64]
    square: bool
    abnormal: bool

    @property
    def end(self) -> float:
        """The frame from which it is gone."""
        return self.start + self.duration

    def position(self, frame: int) -> NDArray[np.float64]:
        """Its centre (x, y) in pixels."""
        return self.entry + self.velocity * min(frame - self.start, self.moving)


def write_synthetic(root: Path, spec: SyntheticSpec) -> None:
    """Writes the data set in the frames layout, with frame labels, pixel masks and a manifest.

    The same spec gives the same pixels. The folder appears whole or not at all.

    Args:
        root: The folder to make; it must not exist or be empty.
        spec: Sizes, counts and the seed.

    Raises:
        OutputError: If the folder exists already or cannot be written.
    """
    random = np.random.default_rng(spec.seed)
    scenes = [_scene(spec, index) for index in range(spec.scenes)]
    kinds: dict[str, Kind] = {}
    labels = []
    with atomic_folder(root) as folder:
        for video in range(spec.train_videos):
            scene = scenes[video % spec.scenes]
            _write_video(folder / "training", f"{video + 1:02d}", spec, scene, random, None)
        for kind in spec.kinds:
            for video in range(spec.test_videos):
                name = f"{len(kinds) + 1:02d}"
                kinds[name] = kind
                scene = scenes[video % spec.scenes]
                labels.append(_write_video(folder / "testing", name, spec, scene, random, kind))
        np.save(folder / "frame_labels_synthetic.npy", np.concatenate(labels)[None].astype(np.uint8))
        (folder / MANIFEST).write_text(json.dumps({"spec": asdict(spec), "kinds": kinds}, indent=2) + "\n")


def kinds_of(root: Path) -> dict[str, Kind]:
    """Returns which kind of anomaly each test video of a synthetic data set holds.

    Raises:
        DataError: If the folder holds no synthetic data set.
    """
    with input_errors(root, "a synthetic data set", DataError):
        kinds: dict[str, Kind] = json.loads((root / MANIFEST).read_text())["kinds"]
        return kinds


def _scene(spec: SyntheticSpec, index: int) -> Scene:
    black = np.zeros((spec.size, spec.size, 3), np.uint8)
    if index == 0:
        return Scene(black, spec.radius, spec.objects)
    random = np.random.default_rng((spec.seed, index))
    coarse = random.uniform(0, 160, (6, 6, 3)).astype(np.float32)
    background = np.clip(cv2.resize(coarse, (spec.size, spec.size), interpolation=cv2.INTER_CUBIC), 0, 160)
    return Scene(
        background.astype(np.uint8),
        spec.radius * random.uniform(0.7, 1.4),
        int(random.integers(1, 2 * spec.objects, endpoint=True)),
    )


def _write_video(
    folder: Path, name: str, spec: SyntheticSpec, scene: Scene, random: np.random.Generator, kind: Kind | None
) -> NDArray[np.bool_]:
    flights = _plan(spec, scene, random, kind)
    frames = folder / "frames" / name
    masks = folder / "masks" / name
    frames.mkdir(parents=True)
    if kind:
        masks.mkdir(parents=True)
    labels = np.zeros(spec.frames, bool)
    for index in range(spec.frames):
        frame, mask = _draw(flights, index, scene)
        cv2.imwrite(str(frames / f"{index:03d}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 95])
        if kind:
            cv2.imwrite(str(masks / f"{index:03d}.png"), mask)
        labels[index] = mask.any()
    return labels


def _plan(spec: SyntheticSpec, scene: Scene, random: np.random.Generator, kind: Kind | None) -> list[Flight]:
    """Plans one flight after the other for each object; one flight of object 0, begun early on, is abnormal."""
    flights = []
    for number in range(scene.objects):
        anchor = random.uniform(spec.frames / 4, spec.frames / 3)
        time = anchor
        while time > 0:  # backwards, so that the first frames are not empty
            flight = _fly(spec, scene, random, None)
            time -= flight.duration
            flights.append(replace(flight, start=time))
        time = anchor
        abnormal = kind if number == 0 else None
        while time < spec.frames:
            flights.append(replace(_fly(spec, scene, random, abnormal), start=time))
            time, abnormal = flights[-1].end, None
    return flights


def _fly(spec: SyntheticSpec, scene: Scene, random: np.random.Generator, kind: Kind | None) -> Flight:
    scale = spec.size / 256
    fast = kind in ("temporal", "spatio-temporal")
    speed = (spec.fast if fast else spec.speed / 2 if kind == "slow" else spec.speed) * scale
    square = kind in ("spatial", "spatio-temporal")
    reach = scene.radius * scale * (2**0.5 if square else 1)
    # From a point just outside one side towards a point of the frame's middle half.
    along, side = random.uniform(0.2, 0.8) * spec.size, random.integers(4)
    outside = -reach if side < 2 else spec.size + reach
    entry = np.array([outside, along] if side % 2 == 0 else [along, outside])
    aim = random.uniform(0.3, 0.7, size=2) * spec.size
    direction = (aim - entry) / np.linalg.norm(aim - entry)
    travel = _distance_to_border(entry, direction, spec.size, reach) / speed
    still = kind == "still"
    moving, duration = (0.4 * travel, 0.4 * travel + spec.frames / 4) if still else (travel, travel)
    return Flight(0, duration, moving, entry, direction * speed, square, kind is not None)


def _distance_to_border(entry: NDArray[np.float64], direction: NDArray[np.float64], size: int, reach: float) -> float:
    """How far an object that enters at ``entry`` travels until it has left the frame."""
    with np.errstate(divide="ignore"):
        exits = np.where(direction > 0, (size + reach - entry) / direction, (-reach - entry) / direction)
    return float(exits[np.abs(direction) > 1e-9].min())


def _draw(flights: list[Flight], index: int, scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    frame = scene.background.copy()
    mask = np.zeros(frame.shape[:2], np.uint8)
    radius = scene.radius * len(frame) / 256
    for flight in flights:
        if not flight.start <= index < flight.end:
            continue
        _draw_object(frame, flight.position(index), radius, flight.square, cv2.LINE_AA)
        if flight.abnormal:
            _draw_object(mask, flight.position(index), radius, flight.square, cv2.LINE_8)
    return frame, mask


def _draw_object(image: NDArray[np.uint8], centre: NDArray[np.float64], radius: float, square: bool, line: int) -> None:
    white = (255, 255, 255)
    unit = 2**SUBPIXEL_BITS
    if square:
        corners = centre + radius * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        points = np.round(corners * unit).astype(np.int32)
        cv2.fillPoly(image, [points], white, line, SUBPIXEL_BITS)
    else:
        x, y = np.round(centre * unit).astype(int)
        cv2.circle(image, (int(x), int(y)), round(radius * unit), white, -1, line, SUBPIXEL_BITS)
