from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mnad.analysis import (
    FILLERS,
    Probe,
    Queries,
    embed_pca,
    embed_tsne,
    middle_of_anomaly,
    patches_of_item,
    probed,
    restore,
    sample_queries,
    usage_of,
)
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.curves import read_curves
from mnad.artifacts.measurements import load_measurements
from mnad.data import Clips, Windows, open_clips, to_frames
from mnad.measuring import measure
from mnad.models import Autoencoder, ModelConfig
from mnad.report.run_plots import PlotsConfig, draw_run_plots
from mnad.runtime.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def clips(synthetic: Path) -> Clips:
    return open_clips(synthetic, "testing", 32, progress=False)


@pytest.fixture
def model(trained: Path) -> Autoencoder:
    return load_checkpoint(trained).build_model().eval()


def test_queries_are_those_of_the_frames_they_name(model: Autoencoder, clips: Clips) -> None:
    queries = sample_queries(model, clips, frames=5, per_frame=3, seed=1)
    assert len(queries) == 15
    assert len(np.unique(queries.frame)) == 5
    assert model.memory is not None
    for index in range(0, 15, 4):
        last = queries.frame[index]
        frames = to_frames(torch.from_numpy(np.array(clips.frames[last - 3 : last + 1])))
        features, _ = model.encoder(frames.reshape(1, 12, 32, 32))
        query = F.normalize(features, dim=1)[0, :, queries.row[index], queries.column[index]]
        np.testing.assert_allclose(queries.vectors[index], query.detach(), atol=1e-5)
        scores = model.memory.items @ query
        assert queries.nearest[index] == scores.argmax()
        assert queries.similarity[index] == pytest.approx(scores.max().item(), abs=1e-5)
    again = sample_queries(model, clips, frames=5, per_frame=3, seed=1)
    assert np.array_equal(again.vectors, queries.vectors)


def test_patches_lie_where_their_queries_lie(clips: Clips) -> None:
    def query(frame: int, row: int, column: int, similarity: float, nearest: int = 0) -> tuple[float, ...]:
        return frame, row, column, similarity, nearest

    drawn = [query(0, 1, 1, 0.5), query(0, 2, 2, 0.9), query(3, 0, 3, 0.7), query(4, 1, 1, 0.99, nearest=1)]
    frame, row, column, similarity, nearest = (np.array(part) for part in zip(*drawn, strict=True))
    queries = Queries(
        np.zeros((4, 2), np.float32), nearest.astype(int), similarity, frame.astype(int), row.astype(int),
        column.astype(int), np.eye(3, 2, dtype=np.float32),
    )  # fmt: skip
    patches = patches_of_item(queries, clips, 0, count=5, size=16)
    assert len(patches) == 2  # one from a frame: the closest of frame 0, then that of frame 3
    assert np.array_equal(patches[0], clips.frames[0][12:28, 12:28])
    beyond = patches[1]  # the corner is filled by the border
    assert np.array_equal(beyond[4:, :12], clips.frames[3][0:12, 20:32])
    assert patches_of_item(queries, clips, 2, count=5) == []


def test_embeddings_keep_the_order_of_queries_and_items(model: Autoencoder, clips: Clips) -> None:
    queries = sample_queries(model, clips, frames=10, per_frame=8)
    pca = embed_pca(queries)
    assert pca.queries.shape == (80, 2)
    assert pca.items.shape == (10, 2)
    centred = queries.vectors - queries.vectors.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:2].T
    np.testing.assert_allclose(np.abs(pca.queries), np.abs(expected), atol=1e-4)
    tsne = embed_tsne(queries, perplexity=5)
    assert np.array_equal(tsne.queries, embed_tsne(queries, perplexity=5).queries)
    assert np.isfinite(tsne.items).all()
    with pytest.raises(ConfigError, match="t-SNE needs more points .* perplexity 90, got 80 queries and 10 items"):
        embed_tsne(queries, perplexity=90)


def test_a_model_without_memory_has_no_items(clips: Clips) -> None:
    with pytest.raises(ConfigError, match="the model has no memory"):
        sample_queries(Autoencoder(ModelConfig(width=4, memory=None)), clips, 2, 2)


@pytest.mark.parametrize("filler", FILLERS)
def test_a_probe_replaces_what_it_says(model: Autoencoder, filler: str) -> None:
    frames = torch.rand(2, 12, 32, 32) * 2 - 1
    probe = Probe((2,), readout=True, filler=filler)  # type: ignore[arg-type]
    with torch.no_grad():
        features, skips = model.encoder(frames)
        assert model.memory is not None
        code = model.memory(features).output
        values = {"zeros": torch.zeros, "ones": torch.ones}

        def fill(like: torch.Tensor, number: int) -> torch.Tensor:
            if filler in values:
                return values[filler](like.shape)
            return torch.rand(like.shape[1:], generator=torch.Generator().manual_seed(number)).expand_as(like)

        skips[1] = fill(skips[1], 2)
        code = torch.cat([code[:, :32], fill(code[:, 32:], 0)], dim=1)
        expected = model.decoder(code, skips)
        found = probed(model, probe)(frames)
    torch.testing.assert_close(found.frames, expected)
    assert torch.equal(found.features, features)


def test_a_probe_of_nothing_changes_no_measurement(model: Autoencoder, clips: Clips) -> None:
    whole, same, blind = (
        measure(probed(model, probe), clips, update="none", progress=False)
        for probe in (Probe(), Probe(filler="ones"), Probe((1, 2, 3), readout=True))
    )
    assert np.array_equal(whole.psnr, same.psnr)
    assert not np.array_equal(whole.psnr, blind.psnr)
    np.testing.assert_allclose(whole.distance, blind.distance, rtol=1e-5)


def test_probes_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="skips must be among 1, 2 and 3, got 4"):
        Probe((4,))
    with pytest.raises(ConfigError, match="filler must be one of zeros, ones, random, got 'noise'"):
        Probe((1,), filler="noise")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="has no skips"):
        probed(Autoencoder(ModelConfig(width=4, skips=False)), Probe((1,)))
    with pytest.raises(ConfigError, match="has no memory whose readout"):
        probed(Autoencoder(ModelConfig(width=4, memory=None)), Probe(readout=True))
    assert str(Probe((2, 3), readout=True)) == "skips 2, 3 + readout"


def test_what_is_restored_is_what_was_measured(model: Autoencoder, clips: Clips, trained: Path) -> None:
    frame = middle_of_anomaly(clips, clips.names[0])
    assert clips.labels is not None
    assert clips.labels[frame]
    restored = restore(model, clips, frame)
    row = int(np.searchsorted(Windows(clips, 4, "next").targets, frame))
    measured = measure(model, clips, update="none", progress=False)
    assert restored.error.mean() == pytest.approx(measured.mse[row], rel=1e-4)
    assert len(load_measurements(trained)) == len(measured)
    np.testing.assert_allclose(restored.target, np.broadcast_to(clips.frames[frame] / 255, (32, 32, 3)), atol=1e-6)
    with pytest.raises(DataError, match="has not the 4 frames before it"):
        restore(model, clips, 2)


def test_the_first_anomaly_may_come_late(clips: Clips) -> None:
    assert clips.labels is not None
    labels = clips.labels.copy()
    labels[: clips.starts[1]] = 0
    late = replace(clips, labels=labels)
    assert middle_of_anomaly(late) == middle_of_anomaly(clips, clips.names[1]) >= clips.starts[1]
    assert middle_of_anomaly(clips) == middle_of_anomaly(clips, clips.names[0])
    with pytest.raises(DataError, match=f"no frame in video {clips.names[0]}"):
        middle_of_anomaly(late, clips.names[0])
    with pytest.raises(DataError, match="no frame in any video"):
        middle_of_anomaly(replace(clips, labels=None))


def test_usage_is_what_was_measured_and_logged(model: Autoencoder, clips: Clips, trained: Path) -> None:
    measured, curves = load_measurements(trained), read_curves(trained)
    usage = usage_of(measured, curves, sample_queries(model, clips, 20, 10_000), clips)
    assert measured.labels is not None
    counts = measured.nearest[measured.labels].sum(0)
    np.testing.assert_allclose(usage.abnormal, counts / counts.sum())
    assert usage.normal.sum() == pytest.approx(1)
    np.testing.assert_allclose(usage.by_epoch.sum(1), 1)
    assert usage.by_epoch.shape == (2, 10)
    for share, patches in zip(usage.normal + usage.abnormal, usage.patches, strict=True):
        assert share > 0 or not patches


def test_a_run_gets_pictures_with_captions(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    pictures = draw_run_plots(PlotsConfig(run, synthetic, frames=10, queries=8))
    assert [picture.name for picture in pictures] == ["embedding.png", "usage.png"]
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.with_suffix(".txt").read_text().strip().endswith(".")
    with pytest.raises(ConfigError, match="t-SNE needs more points .* got 2 queries"):
        draw_run_plots(PlotsConfig(run, synthetic, frames=1, queries=2))
    _, usage = draw_run_plots(PlotsConfig(run, synthetic, frames=1000))
    assert "among 108 test frames" in usage.with_suffix(".txt").read_text()  # all that there are
    with pytest.raises(DataError, match="the measurements are of another data set"):
        draw_run_plots(PlotsConfig(run, synthetic / "testing" / "frames" / "01"))
    (run / "curves" / "metrics.csv").unlink()
    with pytest.raises(DataError, match="cannot read the curves of"):
        draw_run_plots(PlotsConfig(run, synthetic))
