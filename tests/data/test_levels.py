"""Frames of more than 8 bits: by which levels they become bytes, and where these must not be mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mnad.data import PrepareConfig, prepare
from mnad.data.inspection import inspect
from mnad.data.levels import levels_by, range_of
from mnad.runtime.errors import ConfigError, DataError

from tests.data.field import clips_of, look, pictures, told, write_pictures


def test_frames_of_16_bits_keep_what_can_be_seen(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part in ("normal", "test"):
        frames = [(7800 + random.integers(0, 8, (96, 96))).astype(np.uint16) for _ in range(20)]
        for index, frame in enumerate(frames):
            frame[20:40, 5 + index : 25 + index] += 150
            frame[0, 0] = 65535 * (index % 2)  # dead or hot
        write_pictures(tmp_path / part / "thermal", [f"{index:03}.tiff" for index in range(20)], frames)
    found = look(tmp_path)
    assert found.levels is not None
    clips = clips_of(tmp_path, "training")
    assert clips.levels == found.levels
    frame = clips.frames[3, ..., 0].astype(int)
    ground, person = frame[60:], frame[24:36, 12:24]
    assert person.mean() - ground.mean() > 60
    assert ground.std() < 10
    with pytest.raises(DataError, match=r"no training videos by which black and white are chosen: give --levels"):
        clips_of(tmp_path / "test/thermal")
    same = clips_of(tmp_path / "test/thermal", levels=clips.levels)
    assert same.levels == clips.levels
    assert abs(same.frames[3, 60:].mean() - ground.mean()) < 1


def test_levels_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="black less than white, got 9.0 and 9.0"):
        PrepareConfig(tmp_path, levels=(9.0, 9.0))
    frames = [np.full((16, 16), 7800 + index, np.uint16) for index in range(8)]
    write_pictures(tmp_path / "set/normal/a", [f"{index}.png" for index in range(8)], frames)
    prepare(PrepareConfig(tmp_path / "set", tmp_path / "store", size=96, levels=(7000, 8000)), progress=False)
    with pytest.raises(ConfigError, match=r"made by the levels \(7000, 8000\), but frames by the levels \(0, 9\)"):
        clips_of(tmp_path / "store", "training", levels=(0, 9))
    with pytest.raises(ConfigError, match=r"levels \(7000, 8000\), but frames of 8 bits a pixel are asked for"):
        clips_of(tmp_path / "store", "training", levels=None)
    with pytest.raises(ConfigError, match=r"more than 8 bits a pixel, and the model was trained on frames of 8"):
        clips_of(tmp_path / "set", "training", levels=None)
    clips_of(tmp_path / "set", "training")
    with pytest.raises(ConfigError, match=r"was made by the levels .* but frames of 8 bits a pixel are asked for"):
        clips_of(tmp_path / "set", "training", levels=None)  # of the store that is in the cache by now


def test_frames_of_8_bits_for_a_model_trained_by_levels(tmp_path: Path) -> None:
    pictures(tmp_path / "set/test/gate", [f"{index}.png" for index in range(8)])
    with pytest.raises(ConfigError, match=r"levels \(0, 900\) are for pixels of more than 8 bits, and the frames have"):
        clips_of(tmp_path / "set", levels=(0, 900))
    prepare(PrepareConfig(tmp_path / "set", tmp_path / "store", size=96), progress=False)
    assert clips_of(tmp_path / "store", levels=None).levels is None
    for levels in (None, "choose"):
        clips_of(tmp_path / "set", levels=levels, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1  # made once
    with pytest.raises(ConfigError, match=r"of 8 bits a pixel, but frames by the levels \(0, 900\) are asked for"):
        clips_of(tmp_path / "store", levels=(0, 900))


def test_what_inspect_says_of_deep_frames_is_what_prepare_does(tmp_path: Path) -> None:
    frames = [np.full((96, 96), 7800 + 20 * index, np.uint16) for index in range(8)]
    names = [f"{index}.png" for index in range(8)]
    write_pictures(tmp_path / "alone", names, frames)
    found = look(tmp_path / "alone")
    assert found.usable  # for training, and for a model that was trained by levels
    assert "there are no training videos by which black and white are chosen" in told(found)
    assert clips_of(tmp_path / "alone", "training").levels == found.levels
    write_pictures(tmp_path / "mixed/test/a", names, frames)
    pictures(tmp_path / "mixed/normal/a", names)
    assert not inspect(tmp_path / "mixed", progress=False).usable
    with pytest.raises(DataError, match="only the testing frames have more than 8 bits a pixel"):
        prepare(PrepareConfig(tmp_path / "mixed", tmp_path / "store"), progress=False)


def test_levels_that_show_next_to_nothing_are_told(tmp_path: Path) -> None:
    frames = [np.full((96, 96), 20000 + 5000 * index, np.uint16) for index in range(8)]
    write_pictures(tmp_path / "set/test/a", [f"{index}.png" for index in range(8)], frames)
    with pytest.warns(UserWarning, match=r"the testing frames lie between .* and the levels \(7700, 8300\) show 0% of"):
        clips_of(tmp_path / "set", levels=(7700, 8300))


def test_fractions_keep_what_can_be_seen(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 1, 96, dtype=np.float32), (96, 1))
    for scale, offset in ((1, 0), (15, 20)):  # shares, and degrees
        levels = levels_by([range_of([ramp * scale + offset])])
        assert levels is not None
        seen = levels.to_bytes(ramp * scale + offset)
        assert np.ptp(seen) > 150
