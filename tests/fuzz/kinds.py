"""Every kind of file that mnad reads from disk: how a whole one is made, and what reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from mnad.artifacts.checkpoint import export_checkpoint, load_checkpoint, save_checkpoint
from mnad.artifacts.curves import read_curves
from mnad.artifacts.maps import FrameMaps, load_maps, maps_beside, save_maps
from mnad.artifacts.measurements import load_measurements
from mnad.artifacts.released import read_released
from mnad.data.images import pages_of, read_image, read_mask, read_pages
from mnad.data.label_files import read_labels
from mnad.data.layouts import find_layout
from mnad.data.levels import Levels
from mnad.data.matlab import load_matlab
from mnad.data.preparation import PrepareConfig, prepare
from mnad.data.store import open_store
from mnad.data.video import VideoFile
from mnad.evaluation.calibration import Calibration
from mnad.evaluation.checks import check_measurements
from mnad.models import Autoencoder, MemoryConfig, ModelConfig
from scipy.io import savemat

from tests.artifacts.released_code import make_keys, make_network, save
from tests.data.field import moving, write_video
from tests.report.samples import write_run

SIZE = 32


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: What it is called.
        make: Makes it, whole, in an empty folder; gives the file that is to be damaged.
        read: Reads it as mnad does.
        count: How many damaged ones are tried.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    count: int


def _checkpoint(folder: Path) -> Path:
    """A small one with all of its parts; its own sums would refuse nearly all of it, so it comes without."""
    run = load_checkpoint(write_run(folder / "run"))
    calibration = {
        "score_weight": 0.6, "locality": {"pooling": "box-5", "relative": True}, "usual": "0",
        "bounds": {"psnr": [20.0, 40.0], "distance": [0.0, 1.0]},
        "smoothing": {"name": "none", "width": 5}, "fps": 25.0, "frames": 100, "videos": 2, "hold_out": 0.1,
        "trained_on": False, "update": "none", "update_threshold": None, "data": "data", "version": "0.1.0",
        "thresholds": [{
            "false_alarms_per_hour": 1.0, "threshold": 0.9, "exceeding": 0, "expected_per_hour": [0.0, 1.0],
            "spread": [0.8, 1.0],
        }],
    }  # fmt: skip
    usual = {"error": torch.zeros(4, 4)}
    save_checkpoint(folder / "checkpoint.safetensors", replace(run, calibration=calibration, usual=usual))
    shutil.rmtree(folder / "run")
    return folder / "checkpoint.safetensors"


def _unsealed_checkpoint(folder: Path) -> Path:
    path = _checkpoint(folder)
    content = path.read_bytes()
    for name in (b"sha256", b"tensors"):
        content = content.replace(b'\\"%s\\"' % name, b'\\"%s\\"' % name.upper())
    path.write_bytes(content)
    return path


def _read_checkpoint(path: Path) -> object:
    checkpoint = load_checkpoint(path)
    calibration = checkpoint.calibration and Calibration.from_dict(checkpoint.calibration, path)
    return checkpoint.build_model(), checkpoint.describe(), calibration


def _export(folder: Path) -> Path:
    config = ModelConfig(width=2, memory=MemoryConfig(10))
    checkpoint = replace(load_checkpoint(_checkpoint(folder)), config=config, weights=Autoencoder(config).state_dict())
    return export_checkpoint(folder / "export", checkpoint)


def _released(*, zipped: bool) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save(folder / "keys.pt", make_keys(1))
        return save(folder / "model.pth", make_network(width=1), zipped=zipped)

    return make


def _keys(folder: Path) -> Path:
    """The items of a network before torch 1.6; nothing in the file tells damage to its numbers but their lengths."""
    _released(zipped=False)(folder)
    return save(folder / "keys.pt", make_keys(1), zipped=False)


def _read_released(path: Path) -> object:
    return read_released(path.with_name("model.pth"), path.with_name("keys.pt")).config


def _measurements(folder: Path) -> Path:
    return write_run(folder / "run") / "measurements.npz"


def _read_measurements(path: Path) -> object:
    measurements = load_measurements(path)
    return check_measurements(measurements)


def _maps(folder: Path) -> Path:
    measurements = load_measurements(write_run(folder / "run"))
    small = np.zeros((len(measurements), 4, 4), np.float16)
    pictures = np.zeros((len(measurements), 4, 4, 1), np.uint8)
    path = maps_beside(folder / "run" / "measurements.npz")
    save_maps(path, FrameMaps(small, small, pictures, pictures), measurements)
    return path


def _curves(folder: Path) -> Path:
    return write_run(folder / "run") / "curves" / "metrics.csv"


def _data_set(folder: Path) -> Path:
    for part in ("training", "testing"):
        for index, frame in enumerate(moving(6)):
            path = folder / "set" / part / "frames" / "01" / f"{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), frame)
    np.save(folder / "set" / "frame_labels_set.npy", np.arange(6) > 3)
    return folder / "set"


def _store(folder: Path) -> Path:
    store = prepare(PrepareConfig(_data_set(folder), folder / "store", SIZE), progress=False)
    return store.path / "store.json"


def _read_store(path: Path) -> object:
    store = open_store(path.parent if path.name == "store.json" else path.parents[1])
    clips = store.clips("testing", next((labels.name for labels in store.splits["testing"].labels), None))
    return int(clips.frames[:].sum()), list(store.problems())


def _picture(ending: str, pixels: np.ndarray | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"picture.{ending}"
        frame = moving(1)[0] if pixels is None else pixels
        assert cv2.imwrite(str(path), frame)
        return path

    return make


def _read_picture(path: Path) -> object:
    return read_image(path, 3, Levels(0, 65535)).shape, read_mask(path).shape


def _pages(folder: Path) -> Path:
    assert cv2.imwritemulti(str(folder / "pages.tif"), moving(3))
    return folder / "pages.tif"


def _read_all_pages(path: Path) -> object:
    return len(read_pages(path, 0, pages_of(path), 3))


def _video(ending: str, codec: str, pixels: str = "yuv420p") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"clip.{ending}"
        write_video(path, moving(12), codec, pixels)
        return path

    return make


def _read_video(path: Path) -> object:
    video = VideoFile(path)
    told: list[str] = []
    frames = sum(1 for _ in video.read(3, None, told.append))
    return video.expected(), video.rate(), frames, sum(1 for _ in video.sample(1, 3))


def _labels(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _npy(folder: Path) -> Path:
    np.save(folder / "labels.npy", np.arange(20) % 2)
    return folder / "labels.npy"


def _mat(folder: Path) -> Path:
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.array([[1.0, 8], [5, 9]]), np.array([[2.0], [3]])
    savemat(folder / "labels.mat", {"gt": cells})
    return folder / "labels.mat"


def _read_labels(path: Path) -> object:
    return read_labels(path, ["01", "02"]).fit(["01", "02"], [10, 10])


def _volume(folder: Path) -> Path:
    savemat(folder / "1_label.mat", {"volLabel": np.zeros((4, 4, 3))}, do_compression=True)
    return folder / "1_label.mat"


CSV = "video,first,last\r\n01,1,5\r\n02,2,3\r\n"
EVENTS = json.dumps({"01": [[0, 4]], "02": [[1, 2]]})
SCRIPT = b"TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [1:5];\nTestVideoFile{end+1}.gt_frame = [2:3 5];\n"
DEEP = (np.arange(64 * 64, dtype=np.uint16) * 15).reshape(64, 64)

KINDS = (
    Kind("checkpoint", _checkpoint, _read_checkpoint, 200),
    Kind("checkpoint-without-sums", _unsealed_checkpoint, _read_checkpoint, 400),
    Kind("export", _export, lambda path: load_checkpoint(path.parent).build_model(), 200),
    Kind("released", _released(zipped=True), _read_released, 240),
    Kind("released, before torch 1.6", _released(zipped=False), _read_released, 240),
    Kind("released items, before torch 1.6", _keys, _read_released, 240),
    Kind("measurements", _measurements, _read_measurements, 240),
    Kind("maps", _maps, lambda path: load_maps(path, load_measurements(path.parent)), 240),
    Kind("curves", _curves, lambda path: read_curves(path.parents[1]), 200),
    Kind("store", _store, _read_store, 240),
    Kind("store-frames", lambda folder: _store(folder).parent / "testing" / "frames.npy", _read_store, 120),
    Kind("labels-npy", _npy, _read_labels, 240),
    Kind("labels-mat", _mat, _read_labels, 30),
    Kind("labels-csv", _labels("l.csv", CSV.encode()), _read_labels, 240),
    Kind("labels-csv-16", _labels("l.csv", CSV.encode("utf-16")), _read_labels, 240),
    Kind("labels-json", _labels("l.json", EVENTS.encode()), _read_labels, 240),
    Kind("labels-m", _labels("l.m", SCRIPT), _read_labels, 240),
    Kind("masks-mat", _volume, lambda path: load_matlab(path, "volLabel"), 20),
    Kind("jpg", _picture("jpg"), _read_picture, 160),
    Kind("png", _picture("png"), _read_picture, 160),
    Kind("png-16", _picture("png", DEEP), _read_picture, 120),
    Kind("webp", _picture("webp"), _read_picture, 120),
    Kind("pgm", _picture("pgm", DEEP), _read_picture, 120),
    Kind("bmp", _picture("bmp"), _read_picture, 120),
    Kind("tif", _picture("tif", DEEP), _read_picture, 120),
    Kind("pages", _pages, _read_all_pages, 120),
    Kind("avi", _video("avi", "mjpeg", "yuvj420p"), _read_video, 120),
    Kind("mp4", _video("mp4", "libx264"), _read_video, 120),
    Kind("mkv", _video("mkv", "mpeg4"), _read_video, 120),
    Kind("ts", _video("ts", "libx264"), _read_video, 120),
    Kind("mpg", _video("mpg", "mpeg2video"), _read_video, 120),
    Kind("flv", _video("flv", "flv1"), _read_video, 120),
    Kind("wmv", _video("wmv", "wmv2"), _read_video, 120),
    Kind("layout", lambda folder: _data_set(folder) / "frame_labels_set.npy", lambda path: _check(path.parent), 80),
)


def _check(root: Path) -> object:
    for split in find_layout(root).splits(root):
        split.check()
    return None
