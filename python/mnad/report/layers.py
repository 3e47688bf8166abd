"""The pictures of a report: frames as they are, maps on one scale for the whole run, the palette."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from mnad.artifacts.maps import FrameMaps
from mnad.report.sprites import Layer

PALETTE = "inferno"
SAMPLED_FRAMES = 2000
TOP, BOTTOM = 99.9, 0.1
LARGEST_CANVAS = 256
STRONGEST = 0.8  # opacity of a heatmap


@dataclass(frozen=True)
class ColourRange:
    """What 0 and 255 of a map stand for; values beyond are shown as these."""

    low: float
    high: float


# From the best frame to somewhat above the worst of those that scale it.
SCORE_SCALE = ColourRange(0.0, 1.5)


def palette() -> NDArray[np.uint8]:
    """Returns the colours of 0 to 255, (256, 3) RGB: from dark to light, so that they can be told without hue."""
    return (colormaps[PALETTE](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def palette_text() -> str:
    """Returns the palette for the page."""
    return base64.b64encode(palette().tobytes()).decode()


def error_scale(maps: FrameMaps) -> ColourRange:
    """Returns the scale of the root mean squared error: from 0 to what only one cell in a thousand exceeds."""
    return ColourRange(0.0, max(float(np.percentile(root(_sample(maps.error)), TOP)), 1 / 255))


def distance_scale(distance: NDArray[np.float16]) -> ColourRange:
    """Returns the scale of the L2 distance of queries from their items: all but one in a thousand at either end."""
    low, high = np.percentile(root(_sample(distance)), [BOTTOM, TOP]).tolist()
    return ColourRange(low, high if high > low else low + 1e-3)


def on_scale(values: NDArray[np.floating], scale: ColourRange) -> NDArray[np.uint8]:
    """Brings the roots of values to 0..255.

    Example:
        >>> import numpy as np
        >>> on_scale(np.array([0, 0.01, 0.04, 1], np.float16), ColourRange(0, 0.2)).tolist()
        [0, 128, 255, 255]
    """
    return share_of_scale(root(values), scale)


def coloured(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Looks a map (H, W) up in the palette: (H, W, 3) BGR."""
    return palette()[grey][..., ::-1]


def blend(picture: NDArray[np.uint8], heat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays a heatmap over a picture, the more opaque the hotter.

    Args:
        picture: (H, W, 3), BGR.
        heat: (H, W), 0 is cold and leaves the picture as it is.
    """
    opacity = STRONGEST * heat[..., None].astype(np.float32) / 255
    return (picture * (1 - opacity) + coloured(heat) * opacity).round().astype(np.uint8)


def make_layers(
    maps: FrameMaps, scores: NDArray[np.float16] | None = None
) -> tuple[list[Layer], dict[str, ColourRange]]:
    """Makes the layers of a report, and the scales of those that are maps.

    Args:
        maps: Of the frames.
        scores: (N, G, G), where the score comes from; None where it comes from the error of the whole frame.
    """
    layers = [Layer("target", maps.target, False), Layer("restored", maps.restored, False)]
    scales = {"error": error_scale(maps)}
    if scores is not None:
        scales["score"] = SCORE_SCALE
        layers.append(Layer("score", share_of_scale(scores, SCORE_SCALE)[..., None], True))
    layers.append(Layer("error", on_scale(maps.error, scales["error"])[..., None], True))
    if maps.distance is not None:
        scales["distance"] = distance_scale(maps.distance)
        layers.append(Layer("distance", on_scale(maps.distance, scales["distance"])[..., None], True))
    return layers, scales


def canvas_size(layer: Layer) -> int:
    """Returns the side of a layer's canvas: large enough to be smooth, small enough to be quick."""
    return min(LARGEST_CANVAS, max(2 * int(layer.tiles.shape[1]), 128))


def enlarge(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Enlarges a picture to size x size, smoothly."""
    enlarged = cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC)
    return enlarged.astype(np.uint8, copy=False).reshape(size, size, *picture.shape[2:])


def root(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Returns square roots in float32."""
    return np.sqrt(values.astype(np.float32))


def share_of_scale(values: NDArray[np.floating], scale: ColourRange) -> NDArray[np.uint8]:
    """Brings values to 0..255."""
    share = (values.astype(np.float32) - scale.low) / (scale.high - scale.low)
    return (share.clip(0, 1) * 255).round().astype(np.uint8)


def _sample(values: NDArray[np.float16]) -> NDArray[np.float16]:
    return values[:: max(1, len(values) // SAMPLED_FRAMES)]
