"""Scenes as a camera sees them: each a model of its own, held-out normal video, and test video with events."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.maps import FrameMaps, load_maps, maps_beside, save_maps
from mnad.artifacts.measurements import Measurements, load_measurements, save_measurements
from mnad.artifacts.tensors import load_tensors, save_tensors
from mnad.data import Clips, SyntheticSpec, open_clips
from mnad.data.clips import evenly, tail_length, tails
from mnad.data.composed import MANIFEST, ComposedSpec, PlannedEvent, events_of, write_composed
from mnad.data.folders import VIDEO_SUFFIXES
from mnad.data.frames import with_channels
from mnad.data.splits import SplitName
from mnad.data.staging import Pixels
from mnad.measuring import MapRecorder, measure
from mnad.measuring.map_recorder import ErrorRecorder
from mnad.measuring.usual import Usual
from mnad.pipeline.learn_usual import learn_usual
from mnad.reproduction.runner import Runner
from mnad.runtime.errors import DataError
from mnad.runtime.files import alone
from mnad.runtime.progress import print_line
from mnad.training import TrainConfig

SHARE_HELD_OUT = 0.2
HELD_OUT, TEST, USUAL = "held-out.npz", "test.npz", "usual.safetensors"
FOREIGN_PICTURES = 8  # of each other scene


@dataclass(frozen=True)
class Scene:
    """What one camera sees.

    Attributes:
        name: For people.
        data: Its data set.
        events: The event of each composed test video, None for normal video; empty for a data set of its own.
    """

    name: str
    data: Path
    events: Mapping[str, PlannedEvent | None]


@dataclass(frozen=True)
class SceneMeasurements:
    """What a model makes of a scene.

    Attributes:
        held_out: Measurements of normal frames that it was not trained on.
        test: Measurements of the test frames, in relation to what is usual at their place.
        maps: Their maps.
        clips: The test frames.
        usual: What is usual at each place.
    """

    held_out: Measurements
    test: Measurements
    maps: FrameMaps
    clips: Clips
    usual: Usual


def find_scenes(runner: Runner) -> list[Scene]:
    """Composes the scenes of a folder of clips, and returns them with Ped2, where it was given, and the synthetic set.

    Each video of the folder is a scene, or each folder in it, which may hold several recordings of one camera.

    Raises:
        DataError: If the folder holds no video, or one that no events can be put into.
    """
    size = runner.scale.camera.size
    root = runner.folder / "data"
    scenes = []
    if "strangers" in runner.data:
        clips = {
            name: open_clips(path, "training", size, cache=runner.cache) for name, path in _recordings(runner).items()
        }
        spec = ComposedSpec(size=size)
        for name, own in clips.items():
            # Foreign objects are cut out of the other scenes.
            data = root / _named(name, spec, name, {other: len(each) for other, each in clips.items()})
            with alone(data):
                if not (data / MANIFEST).is_file():
                    others = [other for key, other in clips.items() if key != name] or [own]
                    write_composed(data, own, _pictures(others), spec)
            scenes.append(Scene(name, data, events_of(data)))
    if "ped2" in runner.data:
        scenes.append(Scene("UCSD Ped2", runner.data["ped2"], {}))
    return [*scenes, Scene("synthetic", runner.synthetic(SyntheticSpec(size=size)), {})]


def measure_scene(runner: Runner, scene: Scene, seed: int, *, wait: bool = True) -> Path | None:
    """Trains a model of a scene and measures it, unless that has been done.

    Args:
        runner: Trains it.
        scene: What it is a model of.
        seed: Of the training.
        wait: Whether to wait where another process is at it.

    Returns:
        The run's folder; None where another process is at it and this one would not ``wait``.

    Raises:
        Interrupted: If it was stopped; the same call goes on where it was.
    """
    run = _trained(runner, scene, seed, wait=wait)
    if run is None:
        return None
    with alone(run / TEST, wait=wait) as mine:
        if not mine:
            return None
        if not (run / TEST).is_file():
            print_line(f"measuring: {scene.name}, seed {seed}")
            _measure(runner, scene, run)
    return run


def measured(runner: Runner, scene: Scene, seed: int) -> SceneMeasurements:
    """Returns what a model of a scene makes of it, see :func:`measure_scene`."""
    run = measure_scene(runner, scene, seed)
    assert run is not None
    test, (tensors, _) = load_measurements(run / TEST), load_tensors(run / USUAL)
    maps, clips = load_maps(maps_beside(run / TEST), test), _clips(runner, scene, "testing")
    return SceneMeasurements(load_measurements(run / HELD_OUT), test, maps, clips, Usual(**tensors))


def _measure(runner: Runner, scene: Scene, run: Path) -> None:
    model = load_checkpoint(run).build_model().to(runner.device())
    normal = _clips(runner, scene, "training")
    with tempfile.TemporaryDirectory() as folder:
        errors = ErrorRecorder()
        measured = measure(model, tails(normal, SHARE_HELD_OUT, Path(folder)), maps=errors)
    held_out, usual = learn_usual(measured, errors.errors)
    recorder = MapRecorder()
    test = measure(model, _clips(runner, scene, "testing"), usual=usual, maps=recorder)
    save_tensors(run / USUAL, usual.tensors())
    save_measurements(run / HELD_OUT, held_out)
    save_maps(maps_beside(run / TEST), recorder.maps(), test)
    save_measurements(run / TEST, test)  # the last: where it is, all is there


def _trained(runner: Runner, scene: Scene, seed: int, *, wait: bool) -> Path | None:
    scale, clips = runner.scale.camera, _clips(runner, scene, "training")
    frames = sum(int(count) - tail_length(int(count), SHARE_HELD_OUT) for count in np.diff(clips.starts))
    config = TrainConfig(
        data=scene.data,
        out=runner.folder / "runs" / _named(f"scene-{scene.name}-{seed}", scene.data.resolve(), scale),
        size=scale.size,
        width=scale.width,
        epochs=max(1, round(scale.windows / frames)),
        learning_rate=scale.learning_rate,
        hold_out=SHARE_HELD_OUT,
        seed=seed,
        **runner.of_every_training,
    )
    return runner.train_once(config, f"{scene.name}, {config.epochs} epochs, seed {seed}", wait=wait)


def _clips(runner: Runner, scene: Scene, split: SplitName) -> Clips:
    return open_clips(scene.data, split, runner.scale.camera.size, cache=runner.cache, progress=False)


def _named(name: str, *options: object) -> str:
    """Returns a folder's name that no other options have."""
    readable = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
    return f"{readable}-{hashlib.sha256(repr((name, *options)).encode()).hexdigest()[:10]}"


def _recordings(runner: Runner) -> dict[str, Path]:
    """Returns the video of each scene by its name."""
    folder = runner.data["strangers"]
    if not folder.is_dir():
        raise DataError(f"strangers must be a folder of clips, got {folder}")
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    found = {path.stem: path for path in entries if path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES}
    if left_out := [path.name for path in entries if path not in found.values()]:
        print_line(f"left out of {folder}: {', '.join(left_out)}")
    if not found:
        raise DataError(f"there is no video in {folder}")
    return found


def _pictures(clips: list[Clips]) -> list[Pixels]:
    """Returns some pictures of each of some scenes, in colour."""
    return [with_channels(each.frames[index], 3) for each in clips for index in evenly(len(each), FOREIGN_PICTURES)]
