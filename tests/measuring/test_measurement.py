"""Measuring with real networks: batches against frame by frame, precision, faults."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mnad.artifacts.measurements import ARRAYS, Measurements
from mnad.data import Clips, to_frames
from mnad.measuring import MapRecorder, UpdateScope, measure
from mnad.measuring.network import Network
from mnad.models import PRESETS, Autoencoder, MemoryConfig
from mnad.pipeline.score import ScoreConfig
from mnad.runtime.errors import CheckpointError, ConfigError, DataError
from mnad.runtime.provenance import device_name

from mnad_ext import reference
from tests.measuring.clips import clips_of, random_clips
from tests.measuring.test_folding import lived_in

FIGURES = ("mse", "psnr", "distance", "update_error")
SMALL = replace(PRESETS["prediction"].model, width=4)


@pytest.fixture
def model() -> Autoencoder:
    return lived_in(Autoencoder(SMALL))


@pytest.fixture
def clips() -> Clips:
    return random_clips(23, 14, 9, 31)


def by_the_published_loop(model: Autoencoder, clips: Clips, scope: UpdateScope, threshold: float) -> dict[str, list]:  # type: ignore[type-arg]
    """Frame by frame, with BatchNorm and the reference's memory, as method and released code have it."""
    model = copy.deepcopy(model).eval()
    assert model.memory is not None
    first = items = model.memory.items.clone()
    found: dict[str, list] = {name: [] for name in (*FIGURES, "updated")}  # type: ignore[type-arg]
    for _, span in clips.videos():
        items = first if scope == "per-video" else items
        for t in range(span.start + 4, span.stop):
            frames = to_frames(torch.from_numpy(np.array(clips.frames[t - 4 : t + 1])))
            model.memory.items = items
            with torch.no_grad():
                restored = model(frames[:4].flatten(0, 1).unsqueeze(0))
            e = ((restored.frames[0] + 1) / 2 - (frames[4] + 1) / 2).double() ** 2
            n = 1 - torch.exp(-e)
            update_error = ((n * e).sum() / n.sum()).item()
            indices, _ = reference.assign_top2(restored.features, items)
            found["mse"].append(e.mean().item())
            found["psnr"].append(10 * np.log10(1 / e.mean().item()))
            found["distance"].append(reference.compactness(restored.features, items, indices[:, 0]).item())
            found["update_error"].append(update_error)
            found["updated"].append(update_error < threshold)
            if update_error < threshold:
                items = reference.memory_update(restored.features, items)
    return found


def middling_threshold(model: Autoencoder, clips: Clips) -> float:
    """About half of the frames lie below it, and none so close that rounding could decide about it."""
    errors = np.sort(measure(model, clips, update="none", progress=False).update_error)
    middle = errors[len(errors) * 2 // 5 : len(errors) * 3 // 5]
    widest = np.diff(middle).argmax()
    below, above = middle[widest : widest + 2]
    assert above > below * (1 + 1e-3)
    return float((below + above) / 2)


@pytest.mark.parametrize("scope", ["carried-over", "per-video"])
def test_batches_give_what_the_published_loop_gives(model: Autoencoder, clips: Clips, scope: UpdateScope) -> None:
    """The hard case: half of the frames update the items, and decisions flip often."""
    threshold = middling_threshold(model, clips)
    expected = by_the_published_loop(model, clips, scope, threshold)
    flips = np.count_nonzero(np.diff(expected["updated"]))
    assert flips > 15
    for batch_size in (1, 3, 8):
        measured = measure(
            model, clips, update=scope, update_threshold=threshold, batch_size=batch_size, progress=False
        )
        np.testing.assert_array_equal(measured.updated, expected["updated"])
        for name in FIGURES:
            np.testing.assert_allclose(getattr(measured, name), expected[name], rtol=2e-5)
        assert measured.protocol["decodings_per_frame"] <= 2
        assert (measured.protocol["decodings_per_frame"] == 1) == (batch_size == 1)
        assert (
            abs(measured.protocol["closest_update_error"] - threshold)
            == np.abs(measured.update_error - threshold).min()
        )


def test_the_update_matters_in_that_case(model: Autoencoder, clips: Clips) -> None:
    """Else the test above would not see a wrong one."""
    threshold = middling_threshold(model, clips)
    runs = {
        scope: measure(model, clips, update=scope, update_threshold=threshold, progress=False)
        for scope in ("carried-over", "per-video", "none")
    }
    for one, other in (("carried-over", "per-video"), ("carried-over", "none"), ("per-video", "none")):
        differ = ~np.isclose(runs[one].distance, runs[other].distance, rtol=1e-3)
        assert differ.mean() > 0.5, (one, other)


@pytest.mark.parametrize("num_items", [1, 3])
def test_small_memories(clips: Clips, num_items: int) -> None:
    model = lived_in(Autoencoder(replace(SMALL, memory=MemoryConfig(num_items))))
    threshold = middling_threshold(model, clips)
    one, many = (measure(model, clips, update_threshold=threshold, batch_size=size, progress=False) for size in (1, 8))
    np.testing.assert_array_equal(one.updated, many.updated)
    np.testing.assert_allclose(one.distance, many.distance, rtol=2e-5)
    assert one.nearest.shape == (len(one), num_items)


def test_the_model_stays_as_it_is(model: Autoencoder, clips: Clips) -> None:
    model.train()
    before = copy.deepcopy(model.state_dict())
    first, second = (measure(model, clips, update_threshold=1, progress=False) for _ in range(2))
    assert first.updated.all()
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name in (*FIGURES, "updated", "nearest"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
def test_bf16_is_close_and_keeps_the_memory_in_float32(model: Autoencoder, clips: Clips) -> None:
    network = Network(model, "bf16")
    assert network.memory is not None
    assert network.memory.items.dtype == torch.float32
    assert {weight.dtype for part in (network.encoder, network.decoder) for weight in part.parameters()} == {
        torch.bfloat16
    }
    exact = measure(model, clips, update="none", progress=False)
    rounded = measure(model, clips, update="none", precision="bf16", progress=False)
    assert rounded.protocol["precision"] == "bf16"
    assert not np.array_equal(rounded.mse, exact.mse)
    np.testing.assert_allclose(rounded.psnr, exact.psnr, atol=0.1)
    np.testing.assert_allclose(rounded.distance, exact.distance, rtol=0.05)


def finite(measured: Measurements) -> bool:
    return all(bool(np.isfinite(getattr(measured, name)).all()) for name in FIGURES)


def test_identical_frames_and_perfect_ones(model: Autoencoder) -> None:
    flat = np.full((12, 16, 16, 1), 90, np.uint8)
    measured = measure(model, clips_of(flat, flat), progress=False)
    assert finite(measured)
    assert np.ptp(measured.mse[measured.video == 0]) <= 1e-6 * measured.mse[0]

    grey = copy.deepcopy(model)
    exit_conv = grey.decoder.exit[0]
    torch.nn.init.zeros_(exit_conv.weight)
    torch.nn.init.constant_(exit_conv.bias, -100.0)
    black = np.zeros((8, 16, 16, 3), np.uint8)
    perfect = measure(grey, clips_of(black), progress=False)
    assert finite(perfect)
    assert perfect.mse.max() == 0
    assert perfect.update_error.max() == 0
    assert perfect.updated.all()


def test_a_collapsed_memory(model: Autoencoder, clips: Clips) -> None:
    assert model.memory is not None
    model.memory.items[:] = model.memory.items[:1].clone()
    assert finite(measure(model, clips, update_threshold=1, progress=False))


def test_short_videos_are_named_and_the_others_go_on(model: Autoencoder) -> None:
    clips = random_clips(1, 9, 4, 5)
    with pytest.warns(UserWarning, match=r"fewer than 5 frames: 01 \(1 frames\), 03 \(4 frames\)"):
        measured = measure(model, clips, progress=False)
    assert measured.video.tolist() == [1] * 5 + [3]
    assert measured.frame.tolist() == [4, 5, 6, 7, 8, 4]
    assert measured.videos == ("01", "02", "03", "04")
    with pytest.raises(DataError, match="a window needs 5 frames, but the longest video has 4"):
        measure(model, random_clips(1, 4), progress=False)


def test_one_frame_videos_of_a_reconstruction() -> None:
    model = lived_in(Autoencoder(replace(PRESETS["reconstruction"].model, width=4)))
    measured = measure(model, random_clips(1, 3, 1), update_threshold=1, update="per-video", progress=False)
    assert measured.frame.tolist() == [0, 0, 1, 2, 0]
    assert finite(measured)


@pytest.mark.parametrize("choice", [{"update": "per video"}, {"precision": "bf-16"}])
def test_unknown_choices(model: Autoencoder, clips: Clips, choice: dict[str, str]) -> None:
    """A misspelt one must not be taken for the usual one."""
    name, value = next(iter(choice.items()))
    with pytest.raises(ConfigError, match=f"{name} must be one of .*, got '{value}'"):
        measure(model, clips, progress=False, **choice)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"{name} must be one of"):
        ScoreConfig(Path("run"), Path("data"), **choice)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(model: Autoencoder, clips: Clips, value: float) -> None:
    with torch.no_grad():
        model.encoder.stages[1][0].weight[0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match=r"encoder.stages.1.0.weight is not finite, so training has diverged"):
        measure(model, clips, progress=False)


def test_a_model_that_overflows_names_the_frame(model: Autoencoder) -> None:
    """Finite weights that are as large as a number can be; a black frame does not wake them."""
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.fill_(1e30)
    with pytest.raises(CheckpointError, match="nothing finite for frame 4 of video 01, though its weights are finite"):
        measure(model, random_clips(9), update="per-video", progress=False)


@pytest.mark.parametrize("update", ["none", "per-video"])
def test_a_video_measured_alone_has_the_same_bits(model: Autoencoder, update: UpdateScope) -> None:
    """So that machines can share the videos of a data set."""
    lengths = (23, 14, 9, 31)
    clips = random_clips(*lengths, size=32)
    errors = measure(model, clips, update="none", progress=False).update_error
    threshold = float(np.median(errors))
    together = measure(model, clips, update=update, update_threshold=threshold, progress=False)
    if update == "per-video":
        assert 0 < together.updated.sum() < len(together)
    for number, (_, span) in enumerate(clips.videos()):
        alone = measure(model, clips_of(clips.frames[span]), update=update, update_threshold=threshold, progress=False)
        ours = together.video == number
        for name in ARRAYS:
            if name != "video":
                np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[ours], err_msg=name)


def test_maps_of_larger_frames_and_several_videos(model: Autoencoder) -> None:
    """Cells and pictures that do not divide the frames."""
    clips = random_clips(8, 6, 9, size=136, channels=3)
    recorder = MapRecorder()
    measured = measure(
        model, clips, update="per-video", update_threshold=1, batch_size=4, maps=recorder, progress=False
    )
    maps = recorder.maps()
    assert maps.error.shape == (len(measured), 64, 64)
    assert maps.target.shape == maps.restored.shape == (len(measured), 128, 128, 3)
    assert maps.distance is not None
    np.testing.assert_allclose(maps.error.astype(np.float64).mean((1, 2)), measured.mse, rtol=1e-3)
    np.testing.assert_allclose(maps.distance.astype(np.float64).mean((1, 2)) / 32, measured.distance, rtol=1e-3)
    shown = clips.frames[clips.starts[measured.video] + measured.frame]
    np.testing.assert_allclose(maps.target.mean((1, 2, 3)), shown.mean((1, 2, 3)), atol=0.1)


def test_maps_without_a_memory(clips: Clips) -> None:
    recorder = MapRecorder()
    measured = measure(Autoencoder(replace(SMALL, memory=None)), clips, maps=recorder, progress=False)
    assert recorder.maps().distance is None
    assert len(recorder.maps()) == len(measured)
    assert measured.protocol["update"] == "none"
    assert measured.protocol["update_threshold"] is None


def test_the_protocol_says_what_decides_a_figure(model: Autoencoder, clips: Clips) -> None:
    protocol = measure(model, clips, batch_size=5, progress=False).protocol
    assert protocol["model"]["width"] == 4
    assert protocol["model"]["memory"]["update_rule"] == "max-all"
    assert {"update", "update_threshold", "precision", "labels", "memory", "commit", "version", "torch"} <= set(
        protocol
    )
    assert (protocol["batch_size"], protocol["device"]) == (5, device_name(torch.device("cpu")))
    assert protocol["frames_per_second"] == pytest.approx(len(range(23 + 14 + 9 + 31 - 16)) / protocol["seconds"], 0.05)
