from __future__ import annotations

import pickle
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from mnad.data import Batches, Clips, ShuffledBatches, Windows, open_clips, to_frames
from mnad.runtime.errors import ConfigError, DataError


@pytest.fixture
def clips(synthetic: Path) -> Clips:
    return open_clips(synthetic, "testing", 32, progress=False)


@pytest.mark.parametrize(("frames_in", "target", "lost"), [(4, "next", 4), (1, "last", 0), (4, "last", 3)])
def test_windows_stay_inside_their_video(clips: Clips, frames_in: int, target: str, lost: int) -> None:
    windows = Windows(clips, frames_in, target)  # type: ignore[arg-type]
    assert len(windows) == len(clips) - lost * len(clips.names)
    expected = [index for _, span in clips.videos() for index in range(span.start + lost, span.stop)]
    assert windows.targets.tolist() == expected
    for number in (0, len(windows) // 2, len(windows) - 1):
        window = windows[number]
        assert window.shape == (frames_in + (target == "next"), 32, 32, 1)
        assert window.dtype == torch.uint8
        assert np.array_equal(window[-1], clips.frames[expected[number]])


def test_stride(clips: Clips) -> None:
    windows = Windows(clips, 4, "next", stride=7)
    expected = [first for _, span in clips.videos() for first in range(span.start, span.stop - 4, 7)]
    assert windows.firsts.tolist() == expected
    for options in ({"frames_in": 0}, {"frames_in": 4, "stride": 0}):
        with pytest.raises(ConfigError, match="must be at least 1, got 0"):
            Windows(clips, target="next", **options)  # type: ignore[arg-type]


def test_videos_that_are_too_short(clips: Clips) -> None:
    with pytest.raises(DataError, match="a window needs 41 frames, but the longest video has 40"):
        Windows(clips, 40, "next")


def test_pixels_become_frames() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(16, 16, 1)
    frames = to_frames(levels)
    assert frames.shape == (3, 16, 16)
    torch.testing.assert_close(frames[2], levels[..., 0].double().div(127.5).sub(1).float())
    assert (frames[0].min(), frames[0].max()) == (-1, 1)
    assert to_frames(levels, 1).shape == (1, 16, 16)
    colour = torch.randint(0, 256, (2, 5, 8, 4, 3), dtype=torch.uint8)
    assert torch.equal(to_frames(colour)[0, 1, 2], colour[0, 1, :, :, 2] / 127.5 - 1)
    with pytest.raises(ConfigError, match="the network takes grey"):
        to_frames(colour, 1)


def test_the_order_is_seeded_and_can_begin_anywhere() -> None:
    sampler = ShuffledBatches(103, 4, seed=3)
    epochs = [list(sampler.at(epoch)) for epoch in range(3)]
    assert [len(batches) for batches in epochs] == [len(sampler)] * 3 == [25] * 3
    for batches in epochs:
        chosen = np.concatenate(batches)
        assert len(set(chosen)) == 100
        assert chosen.max() < 103
    assert epochs[0] != epochs[1]
    assert list(ShuffledBatches(103, 4, seed=3).at(1, 7)) == epochs[1][7:]
    assert list(ShuffledBatches(103, 4, seed=4).at(1)) != epochs[1]
    with pytest.raises(ConfigError, match="batch_size 104 is larger than the 103 training windows"):
        ShuffledBatches(103, 104, seed=0)


def test_ranks_share_the_batches_of_one() -> None:
    whole = list(ShuffledBatches(50, 6, seed=0).at(2))
    parts = [list(ShuffledBatches(50, 2, seed=0, rank=rank, ranks=3).at(2)) for rank in range(3)]
    assert [list(chain(*batches)) for batches in zip(*parts, strict=True)] == whole
    with pytest.raises(ConfigError, match="batch_size 20 on each of 3 devices"):
        ShuffledBatches(50, 20, seed=0, ranks=3)


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"device_cache": True}])
def test_batches_by_all_ways_are_the_same(clips: Clips, options: dict[str, int]) -> None:
    windows = Windows(clips, 4, "next")
    sampler = ShuffledBatches(len(windows), 5, seed=1)
    expected = [torch.stack([windows[index] for index in indices]) for indices in sampler.at(4, 3)]
    batches = Batches(windows, sampler, torch.device("cpu"), **options)  # type: ignore[arg-type]
    for _ in range(2):  # workers stay and begin again
        sampler.at(4, 3)
        found = list(batches)
        assert len(found) == len(expected)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_processes_map_the_frames_anew(clips: Clips) -> None:
    data = pickle.dumps(Windows(clips, 4, "next"))
    assert len(data) < 20_000 < clips.frames.nbytes
    copy = pickle.loads(data)
    assert isinstance(copy.clips.frames, np.memmap)
    assert np.array_equal(copy[5], Windows(clips, 4, "next")[5])
