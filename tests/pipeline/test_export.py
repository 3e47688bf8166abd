"""Models for other places: what is written, that it scores like the model, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mnad.artifacts.checkpoint import load_checkpoint, save_checkpoint
from mnad.detector import Detector
from mnad.graphs.folder import FORMATS, ExportedModel, GraphFormat, read_manifest
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.pipeline.export import ExportConfig, export
from mnad.runtime.errors import CheckpointError, ConfigError, OutputError
from numpy.typing import NDArray

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def video(synthetic: Path) -> Path:
    return sorted((synthetic / "testing" / "frames").iterdir())[-1]


@pytest.fixture(scope="module")
def exported(held_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In ONNX. Tests that change it copy it."""
    return export(ExportConfig(held_out, tmp_path_factory.mktemp("exports") / "gate", "onnx"))


def scores_by(model: ExportedModel, video: Path) -> NDArray[np.float64]:
    """Scores a video by what an exported model says of itself alone, as a program without this package would."""
    said, window, past = model.metadata, deque[Any](), deque[float]()
    items = None if model.items is None else model.items[None].copy()
    size, length, found = int(said["size"]), int(said["window"]), []
    for file in sorted(video.iterdir()):
        window.append(cv2.resize(cv2.imread(str(file)), (size, size)))
        if len(window) > length:
            window.popleft()
        if len(window) < length:
            continue
        got = model.score(np.stack(window)[None], items)
        p, d = float(got["psnr"][0]), float(got["distance"][0])
        low, high = float(said["psnr_low"]), float(said["psnr_high"])
        part = 1 - (p - low) / (high - low)
        low, high = float(said["distance_low"]), float(said["distance_high"])
        parts = part, (d - low) / (high - low)
        if said["score_weight"] == "max":
            past.append(max(parts))
        else:
            weight = float(said["score_weight"])
            past.append(weight * parts[0] + (1 - weight) * parts[1])
        if len(past) > int(said["smoothing_width"]):
            past.popleft()
        found.append(sum(past) / len(past))
        if got["update_error"][0] < float(said["update_threshold"]):
            items = model.update(got["features"], items)
    return np.array(found)


OTHERWISE = {"score_weight": "max", "smoothing": {"name": "none", "width": 3}}


@pytest.mark.parametrize(("graph_format", "changes"), [*((name, {}) for name in FORMATS), ("pt2", OTHERWISE)])
def test_scores_a_video_as_the_detector_does(
    graph_format: GraphFormat, changes: dict[str, Any], held_out: Path, video: Path, tmp_path: Path
) -> None:
    update_all = tmp_path / "run"
    shutil.copytree(held_out, update_all)
    checkpoint = load_checkpoint(update_all)
    assert checkpoint.calibration is not None
    assert checkpoint.calibration["smoothing"]["name"] == "causal"
    # So that about half of the frames update the items.
    threshold = float(np.median(np.load(held_out / "measurements.npz")["update_error"]))
    calibration = {**checkpoint.calibration, "update_threshold": threshold, **changes}
    save_checkpoint(update_all / "checkpoint.safetensors", replace(checkpoint, calibration=calibration))
    model = ExportedModel.open(export(ExportConfig(update_all, tmp_path / "gate", graph_format)))
    detector = Detector.load(update_all)
    np.testing.assert_allclose(scores_by(model, video), detector.score(video).score, atol=TOLERANCE)
    assert float(model.metadata["threshold"]) == detector.threshold


def test_says_what_it_is(exported: Path, held_out: Path) -> None:
    manifest, checkpoint = read_manifest(exported), load_checkpoint(held_out)
    said = manifest["metadata"]
    assert said["weights"] == checkpoint.describe()["weights"]
    assert (said["size"], said["window"], said["fps"], said["channel_order"]) == ("32", "5", "25", "BGR")
    assert checkpoint.calibration is not None
    passed_on = checkpoint.calibration | {"data": Path(checkpoint.calibration["data"]).name}
    assert manifest["calibration"] == json.loads(json.dumps(passed_on))
    assert "/" not in manifest["calibration"]["data"]
    assert set(manifest["check"]["largest_differences"]) >= {"predicted", "psnr", "distance", "new_items"}
    import onnx

    stored = onnx.load(exported / "score.onnx")
    assert {each.key: each.value for each in stored.metadata_props}.items() >= said.items()
    assert [each.name for each in stored.graph.input] == ["pixels", "items"]
    assert {each.domain for each in stored.opset_import} <= {"", "pkg.onnxscript.torch_lib", "ai.onnx"}


def test_weights_alone_are_a_run(held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = export(ExportConfig(held_out, tmp_path / "weights", "weights"))
    assert load_checkpoint(folder).config == load_checkpoint(held_out).config
    assert load_checkpoint(folder).calibration is None
    assert f"calibrate these: mnad calibrate {folder}" in capsys.readouterr().out


def test_weights_that_float16_does_not_change_stay_calibrated(
    held_out: Path, synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = export(ExportConfig(held_out, tmp_path / "weights", "weights"))
    calibrate(CalibrateConfig(folder, synthetic, (3600,), fps=25, relative=True, accelerator="cpu"))
    capsys.readouterr()
    again = load_checkpoint(export(ExportConfig(folder, tmp_path / "again", "weights")))
    assert again.calibration == load_checkpoint(folder).calibration is not None
    assert set(again.usual) == {"error"}
    assert "calibrate these" not in capsys.readouterr().out


def test_a_wrong_distance_is_seen_however_small_it_is(
    held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ExportedModel.score

    def wrong(self: ExportedModel, *arguments: Any) -> dict[str, Any]:
        found = real(self, *arguments)
        return found | {"distance": found["distance"] * 1.001}

    monkeypatch.setattr(ExportedModel, "score", wrong)
    with pytest.raises(OutputError, match="its distance differs by 0.001"):
        export(ExportConfig(held_out, tmp_path / "gate", "pt2"))


def test_what_a_runtime_would_cast_is_refused(exported: Path) -> None:
    model = ExportedModel.open(exported)
    assert model.items is not None
    items = model.items[None]
    with pytest.raises(TypeError, match="pixels must be uint8, got float32"):
        model.score(np.zeros((1, 5, 32, 32, 3), np.float32), items)
    with pytest.raises(ValueError, match=r"pixels must be \(B, 5, 32, 32, 3\)"):
        model.score(np.zeros((1, 4, 32, 32, 3), np.uint8), items)
    with pytest.raises(ValueError, match="one B for all"):
        model.score(np.zeros((2, 5, 32, 32, 3), np.uint8), items)
    with pytest.raises(TypeError, match="takes pixels, items, got pixels"):
        model.score(np.zeros((1, 5, 32, 32, 3), np.uint8), None)


def test_a_model_that_is_not_calibrated_has_no_threshold(trained: Path, tmp_path: Path) -> None:
    said = ExportedModel.open(export(ExportConfig(trained, tmp_path / "gate", "pt2"))).metadata
    assert "threshold" not in said
    assert said["window"] == "5"


@pytest.mark.parametrize("name", ["score.onnx", "update.onnx", "items.npy"])
def test_a_file_that_is_missing_or_changed_is_told(name: str, exported: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(exported, tmp_path / "copied")
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} is not the file that its export.json tells of"):
        ExportedModel.open(copied)
    (copied / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name} is missing"):
        ExportedModel.open(copied)


def test_a_changed_manifest_is_told(exported: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(exported, tmp_path / "copied")
    manifest = copied / "export.json"
    manifest.write_text(manifest.read_text().replace('"size": "32"', '"size": "64"'))
    with pytest.raises(CheckpointError, match="damaged"):
        ExportedModel.open(copied)
    manifest.write_text("{}")
    with pytest.raises(CheckpointError, match="manifest of an exported model"):
        ExportedModel.open(copied)
    with pytest.raises(CheckpointError, match="manifest of an exported model"):
        ExportedModel.open(tmp_path)


def test_what_differs_is_not_written(held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnad.pipeline.export.TOLERANCE", -1)
    with pytest.raises(OutputError, match="does not give what the model gives"):
        export(ExportConfig(held_out, tmp_path / "gate", "pt2"))
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_told(held_out: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="format must be one of onnx, openvino, pt2, weights, got 'tflite'"):
        ExportConfig(held_out, tmp_path / "gate", "tflite")  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="exists already"):
        export(ExportConfig(held_out, exported))
    for place in (exported, held_out):
        with pytest.raises(ConfigError, match="holds a run or an exported model already"):
            export(ExportConfig(held_out, place, "weights"))
    with pytest.raises(CheckpointError, match="exported for other runtimes"):
        load_checkpoint(exported)
    checkpoint = load_checkpoint(held_out)
    moved = {**checkpoint.training, "data": str(tmp_path / "gone")}
    save_checkpoint(tmp_path / "run" / "checkpoint.safetensors", replace(checkpoint, training=moved))
    with pytest.raises(ConfigError, match=r"gone any more; name some with --data"):
        export(ExportConfig(tmp_path / "run", tmp_path / "gate", "pt2"))
    del moved["data"]  # as of a published checkpoint
    save_checkpoint(tmp_path / "run" / "checkpoint.safetensors", replace(checkpoint, training=moved))
    with pytest.raises(ConfigError, match="are not known; name some with --data"):
        export(ExportConfig(tmp_path / "run", tmp_path / "gate", "pt2"))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"pip install 'mnad-ext\[onnxruntime\]'"):
        export(ExportConfig(held_out, tmp_path / "gate", "onnx"))
