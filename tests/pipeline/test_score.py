from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.maps import load_maps, maps_beside
from mnad.artifacts.measurements import load_measurements, save_measurements
from mnad.data import Clips, PrepareConfig, Windows, open_clips, prepare
from mnad.measuring import measure, update_errors
from mnad.models import Autoencoder, ModelConfig
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.errors import CheckpointError, ConfigError, DataError, OutputError

from tests.data import trees
from tests.data.trees import make_clip


@pytest.fixture(scope="module")
def clips(synthetic: Path) -> Clips:
    return open_clips(synthetic, "testing", 32, progress=False)


@pytest.fixture
def model(trained: Path) -> Autoencoder:
    return load_checkpoint(trained).build_model()


def test_the_batch_size_changes_no_score(model: Autoencoder, clips: Clips) -> None:
    one, many = (measure(model, clips, update="none", batch_size=size, progress=False) for size in (1, 7))
    for name in ("mse", "distance", "update_error"):
        np.testing.assert_allclose(getattr(one, name), getattr(many, name), rtol=2e-5)


def test_the_scope_of_the_update(model: Autoencoder, clips: Clips) -> None:
    carried = measure(model, clips, update_threshold=1.0, progress=False)
    anew = measure(model, clips, update="per-video", update_threshold=1.0, progress=False)
    still = measure(model, clips, update="none", progress=False)
    first = carried.video == 0
    np.testing.assert_array_equal(carried.distance[first], anew.distance[first])
    assert not np.allclose(carried.distance[~first], anew.distance[~first], rtol=1e-5)
    assert not np.allclose(still.distance[1:], carried.distance[1:], rtol=1e-5)
    begins = anew.frame == 4
    np.testing.assert_allclose(anew.distance[begins], still.distance[begins], rtol=1e-5)
    assert not still.updated.any()
    assert (still.nearest.sum(1) == 4 * 4).all()


def test_frames_and_labels_belong_together(model: Autoencoder, clips: Clips) -> None:
    measured = measure(model, clips, update="none", progress=False)
    assert clips.labels is not None
    assert measured.labels is not None
    for video, frame, label in zip(measured.video, measured.frame, measured.labels, strict=True):
        assert label == clips.labels[clips.starts[video] + frame]
    assert measured.frame.min() == 4


def test_without_memory_there_is_no_distance(clips: Clips) -> None:
    model = Autoencoder(ModelConfig(width=4, memory=None))
    measured = measure(model, clips, update="none", progress=False)
    assert np.isnan(measured.distance).all()
    assert np.isfinite(measured.psnr).all()


def test_reconstruction_loses_no_frame(clips: Clips) -> None:
    model = Autoencoder(ModelConfig(frames_in=1, target="last", skips=False, width=4))
    assert len(measure(model, clips, update="none", progress=False)) == len(clips)
    assert len(Windows(clips, 1, "last")) == len(clips)


def test_update_error() -> None:
    errors = torch.tensor([0.0, 0.25, 1.0, 0.5]).reshape(1, 1, 2, 2)
    n = 1 - torch.exp(-errors.flatten())
    expected = (n * errors.flatten()).sum() / n.sum()
    torch.testing.assert_close(update_errors(errors), expected.reshape(1))
    assert update_errors(torch.zeros(2, 3, 4, 4)).tolist() == [0, 0]


def test_measurements_round_trip(trained: Path, tmp_path: Path) -> None:
    first = load_measurements(trained)
    save_measurements(tmp_path / "m.npz", first)
    second = load_measurements(tmp_path / "m.npz")
    assert first.videos == second.videos
    assert first.protocol == second.protocol
    for name in ("video", "frame", "mse", "psnr", "distance", "update_error", "updated", "nearest", "labels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    known = {
        "preset",
        "epoch",
        "step",
        "checkpoint",
        "data",
        "split",
        "size",
        "labels",
        "update",
        "update_threshold",
        "commit",
    }
    assert known <= set(first.protocol)


def test_files_that_are_no_measurements(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no measurements at"):
        load_measurements(tmp_path)
    for content in (b"nonsense", b""):
        (tmp_path / "measurements.npz").write_bytes(content)
        with pytest.raises(DataError, match="is not a file of measurements"):
            load_measurements(tmp_path)
    np.savez(tmp_path / "measurements.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="is not a file of measurements"):
        load_measurements(tmp_path)


def test_bad_input_leaves_nothing(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        score(ScoreConfig(tmp_path, synthetic, out=tmp_path / "m.npz"))
    with pytest.raises(DataError, match="does not exist"):
        score(ScoreConfig(trained, tmp_path / "nowhere", out=tmp_path / "m.npz"))
    with pytest.raises(ConfigError, match="threshold must not be negative"):
        ScoreConfig(trained, synthetic, update_threshold=-1)
    with pytest.raises(OutputError, match="cannot write"):
        score(ScoreConfig(trained, synthetic, out=trained / "checkpoint.safetensors" / "m.npz", accelerator="cpu"))
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        ScoreConfig(trained, synthetic, batch_size=0)
    assert list(tmp_path.iterdir()) == []


def test_a_store_and_the_raw_path_give_the_same_scores(synthetic: Path, trained: Path, tmp_path: Path) -> None:
    prepare(PrepareConfig(synthetic, tmp_path / "store", size=32), progress=False)
    files = [
        score(ScoreConfig(trained, data, out=tmp_path / f"{data.name}.npz", accelerator="cpu"))
        for data in (synthetic, tmp_path / "store")
    ]
    raw, stored = map(load_measurements, files)
    for name in ("mse", "psnr", "distance", "update_error", "updated", "labels", "frame", "video"):
        assert np.array_equal(getattr(raw, name), getattr(stored, name)), name
    assert raw.protocol["labels"] == "frame_labels_synthetic.npy (frame_labels_synthetic.npy)"


def test_avenue_label_sets_by_name(trained: Path, tmp_path: Path) -> None:
    """The choice changes the labels alone and is stored with the scores."""
    clips = [make_clip(12, index, events=[(6, 8)], colour=False) for index in range(2)]
    trees.write_avenue(tmp_path / "Avenue", [], clips)
    np.save(tmp_path / "Avenue" / "frame_labels_avenue.npy", np.tile(np.arange(12) > 4, 2))
    found = {}
    for name in ("official", "hasan"):
        out = tmp_path / f"{name}.npz"
        found[name] = load_measurements(
            score(ScoreConfig(trained, tmp_path / "Avenue", out=out, labels=name, accelerator="cpu"))
        )
        assert found[name].protocol["labels"].startswith(f"{name} (")
    assert np.array_equal(found["official"].mse, found["hasan"].mse)
    assert [measured.labels.sum() for measured in found.values()] == [6, 14]


def test_maps_agree_with_the_measurements(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    out = score(ScoreConfig(trained, synthetic, out=tmp_path / "m.npz", maps=True, accelerator="cpu"))
    measured = load_measurements(out)
    maps = load_maps(maps_beside(out), measured)
    assert len(maps) == len(measured)
    assert maps.error.shape[1:] == (32, 32)
    assert maps.distance is not None
    np.testing.assert_allclose(maps.error.astype(float).mean((1, 2)), measured.mse, rtol=1e-3)
    C = 8 * 4
    np.testing.assert_allclose(maps.distance.astype(float).mean((1, 2)) / C, measured.distance, rtol=1e-3)
    clips = open_clips(synthetic, "testing", 32, progress=False)
    rows = clips.starts[measured.video] + measured.frame
    np.testing.assert_array_equal(maps.target, clips.frames[rows])
    restored = (maps.restored / 255.0 - maps.target / 255.0) ** 2
    np.testing.assert_allclose(restored.mean((1, 2, 3)), measured.mse, rtol=0.05)


def test_the_training_split_has_a_file_of_its_own(
    trained: Path, synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    before = (run / "measurements.npz").read_bytes()
    out = score(ScoreConfig(run, synthetic, split="training", update="none", accelerator="cpu"))
    assert out == run / "measurements-training.npz"
    assert (run / "measurements.npz").read_bytes() == before
    measured = load_measurements(out)
    assert measured.labels is None
    assert (measured.protocol["split"], measured.protocol["labels"]) == ("training", "none")
    assert len(measured) == 2 * 36
    shown = capsys.readouterr().out
    assert "training split; no test-time update" in shown
    assert "72 frames in" in shown


def test_maps_stay_and_are_known_by_their_pass(
    trained: Path, synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ScoreConfig(trained, synthetic, out=tmp_path / "m.npz", maps=True, accelerator="cpu")
    assert maps_beside(score(config)).exists()
    kept = maps_beside(config.destination).read_bytes()
    score(replace(config, maps=False, batch_size=3))
    assert maps_beside(config.destination).read_bytes() == kept
    assert "maps" not in capsys.readouterr().out
    load_maps(maps_beside(config.destination), load_measurements(config.destination))
    score(replace(config, maps=False, split="training"))
    assert maps_beside(config.destination).read_bytes() == kept
    assert "the maps stay, but do not belong to these measurements" in capsys.readouterr().out
    with pytest.raises(DataError, match="of another pass"):
        load_maps(maps_beside(config.destination), load_measurements(config.destination))
