from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mnad.data.images import read_image
from mnad.runtime.errors import DataError


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("kept", [0, 1, 100, -3, -400])
def test_an_image_that_is_cut_off(tmp_path: Path, suffix: str, kept: int) -> None:
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"a.{suffix} is (cut off|not an image)"):
        read_image(path, 3)


def test_channels(tmp_path: Path) -> None:
    blue = np.zeros((20, 10, 3), np.uint8)
    blue[..., 0] = 255
    cv2.imwrite(str(tmp_path / "a.png"), blue)
    assert np.array_equal(read_image(tmp_path / "a.png", 3), blue)
    assert read_image(tmp_path / "a.png", 1).shape == (20, 10, 1)
    with pytest.raises(DataError, match="cannot read .*: No such file"):
        read_image(tmp_path / "b.png", 3)
