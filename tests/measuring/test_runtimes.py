"""Other runtimes than PyTorch for the network: the same scores and the same decisions."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.measurements import load_measurements
from mnad.cli import main
from mnad.data import Clips, open_clips
from mnad.detector import Detector
from mnad.measuring import measure
from mnad.measuring.network import Network
from mnad.measuring.options import InferenceOptions, RuntimeName
from mnad.measuring.runtimes import OTHERS, check_runtime, device_for
from mnad.models import PRESETS, Autoencoder
from mnad.runtime.errors import ConfigError
from mnad.watching.watched_model import WatchedModel

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def clips(synthetic: Path) -> Clips:
    return open_clips(synthetic, "testing", 32, progress=False)


@pytest.mark.parametrize("runtime", OTHERS)
def test_measures_the_same_and_decides_the_same(runtime: RuntimeName, held_out: Path, clips: Clips) -> None:
    model = load_checkpoint(held_out).build_model()
    threshold = float(np.median(measure(model, clips, progress=False).update_error))
    ours = measure(model, clips, update_threshold=threshold, progress=False)
    theirs = measure(model, clips, update_threshold=threshold, runtime=runtime, progress=False)
    assert 0 < ours.updated.sum() < len(ours)
    np.testing.assert_array_equal(theirs.updated, ours.updated)
    for name in ("psnr", "distance", "local_psnr", "update_error"):
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), rtol=TOLERANCE, atol=TOLERANCE)
    assert theirs.protocol["runtime"] == runtime


def test_serves_a_network_without_skips_and_memory(clips: Clips) -> None:
    from dataclasses import replace

    model = Autoencoder(replace(PRESETS["reconstruction-no-memory"].model, width=4))
    ours = measure(model, clips, progress=False)
    theirs = measure(model, clips, runtime="onnxruntime", progress=False)
    np.testing.assert_allclose(theirs.psnr, ours.psnr, atol=TOLERANCE)


def test_a_detector_watches_by_it(held_out: Path, synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = next(path for path in sorted((synthetic / "testing" / "frames").iterdir()))
    ours, theirs = Detector.load(held_out), Detector.load(held_out, runtime="openvino")
    for file in sorted(video.iterdir())[:12]:
        frame = cv2.imread(str(file))
        one, other = ours.step({"a": frame, "b": frame}), theirs.step({"a": frame, "b": frame})
        assert {name: each.alarm for name, each in one.items()} == {name: each.alarm for name, each in other.items()}
        for name, each in one.items():
            assert (each.score is None) == (other[name].score is None)
            assert each.score is None or other[name].score == pytest.approx(each.score, abs=TOLERANCE)
    monkeypatch.delattr("mnad.measuring.network.compile_model")  # it is compiled already
    scores = theirs.score(video).score
    np.testing.assert_allclose(scores, ours.score(video).score, atol=TOLERANCE)


def test_watching_goes_on_by_another_one(held_out: Path, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    ours = WatchedModel(held_out, tmp_path, InferenceOptions(accelerator="cpu"))
    for frame in frames[:6]:
        ours.streams.step({"gate": frame})
    ours.save({})
    theirs = WatchedModel(held_out, tmp_path, InferenceOptions(runtime="onnxruntime"))
    theirs.load()
    for frame in frames[6:]:
        expected, found = (each.streams.step({"gate": frame})["gate"].score for each in (ours, theirs))
        assert expected is not None
        assert found == pytest.approx(expected, abs=TOLERANCE)


def test_the_command_scores_by_it(
    held_out: Path, synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "measurements.npz"
    arguments = ["score", str(held_out), "--data", str(synthetic), "--out", str(out), "--runtime", "onnxruntime"]
    assert main(arguments) in (0, None)
    assert ", onnxruntime, 32-true" in capsys.readouterr().out
    ours = load_measurements(held_out / "measurements.npz")
    np.testing.assert_allclose(load_measurements(out).psnr, ours.psnr, atol=TOLERANCE)


def test_one_that_is_unknown_is_refused(held_out: Path) -> None:
    with pytest.raises(ConfigError, match="runtime must be one of torch, openvino, onnxruntime, got 'tensorrt'"):
        Detector.load(held_out, runtime="tensorrt")  # type: ignore[arg-type]


@pytest.mark.parametrize("runtime", OTHERS)
def test_one_that_is_not_installed_says_what_to_install(
    runtime: RuntimeName, held_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(ConfigError, match=rf"pip install 'mnad-ext\[{runtime}\]'"):
        Detector.load(held_out, runtime=runtime)


def test_what_it_cannot_do_is_refused(held_out: Path) -> None:
    with pytest.raises(ConfigError, match="32-true"):
        Detector.load(held_out, runtime="openvino", precision="bf16")
    with pytest.raises(ConfigError, match="on the CPU alone"):
        check_runtime("openvino", torch.device("cuda"), "32-true")
    with pytest.raises(ValueError, match="size"):
        Network(load_checkpoint(held_out).build_model(), runtime="openvino")


def test_the_device_is_the_cpu_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device_for("auto", "openvino").type == "cpu"
    assert device_for("auto", "torch").type == "cuda"
