from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mnad.data import Windows, load_clips, to_unit_range
from mnad.errors import DataError


@pytest.mark.parametrize(("frames_in", "target", "lost"), [(4, "next", 4), (1, "last", 0), (4, "last", 3)])
def test_windows_stay_inside_their_video(synthetic: Path, frames_in: int, target: str, lost: int) -> None:
    clips = load_clips(synthetic, "testing", 32, progress=False)
    windows = Windows(clips, frames_in, target)  # type: ignore[arg-type]
    assert len(windows) == len(clips) - lost * len(clips.names)
    expected = [index for _, span in clips.videos() for index in range(span.start + lost, span.stop)]
    assert windows.targets.tolist() == expected
    for number in (0, len(windows) // 2, len(windows) - 1):
        window = windows[number]
        assert window.shape == (frames_in + (target == "next"), 3, 32, 32)
        assert window.dtype == torch.uint8
        assert torch.equal(window[-1].permute(1, 2, 0), torch.from_numpy(clips.frames[expected[number]]))


def test_videos_that_are_too_short(synthetic: Path) -> None:
    clips = load_clips(synthetic, "testing", 32, progress=False)
    with pytest.raises(DataError, match="a window needs 41 frames, but the longest video has 40"):
        Windows(clips, 40, "next")


def test_unit_range() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    scaled = to_unit_range(levels)
    assert scaled[0] == -1
    assert scaled[-1] == 1
    torch.testing.assert_close(scaled, levels.double().div(127.5).sub(1).float())
