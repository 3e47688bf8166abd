from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mnad.data.frames import with_channels
from mnad.data.images import read_image, read_pages, read_pixels
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


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.ppm", "a.webp"])
def test_grey_of_a_file_is_that_of_its_frame(tmp_path: Path, name: str) -> None:
    cv2.imwrite(str(tmp_path / name), np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    frame = cv2.imread(str(tmp_path / name))
    assert frame is not None
    assert np.array_equal(read_image(tmp_path / name, 1), cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[..., None])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.int32, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_deeper_than_bytes(tmp_path: Path, kind: type[np.generic], channels: int) -> None:
    grey = np.linspace(0, 1000, 40 * 50).reshape(40, 50).astype(kind)
    cv2.imwrite(str(tmp_path / "a.tif"), grey)
    cv2.imwritemulti(str(tmp_path / "b.tif"), [grey, grey[::-1]])
    repeated = np.repeat(grey[..., None], channels, axis=2)
    pages = read_pages(tmp_path / "b.tif", 0, 2, channels)
    for read, expected in zip(
        [read_pixels(tmp_path / "a.tif", channels), *pages], [repeated, repeated, repeated[::-1]], strict=True
    ):
        assert read.dtype == kind
        assert np.array_equal(read, expected)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float64])
def test_grey_of_colours_of_any_kind(kind: type[np.generic]) -> None:
    colour = np.random.default_rng(0).integers(0, 1000, (8, 8, 3))
    expected = colour @ [0.114, 0.587, 0.299]
    np.testing.assert_allclose(with_channels(colour.astype(kind), 1)[..., 0], expected, rtol=1e-5)
