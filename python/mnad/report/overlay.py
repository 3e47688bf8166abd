"""Test videos with what the model made of them drawn in: error heatmap, score curve, labels and threshold, as .mp4."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.pipeline.evaluate import EvaluationOptions
from mnad.report.judgement import Judgement, VideoJudgement, judge
from mnad.report.layers import SCORE_SCALE, blend, enlarge, error_scale, on_scale, share_of_scale
from mnad.report.material import Material, load_material
from mnad.runtime.errors import ConfigError, DataError, OutputError
from mnad.runtime.files import atomic_write
from mnad.runtime.progress import track

Codec = Literal["mp4v", "vp09"]
Heatmap = Literal["score", "error"]
SIDE, CURVE, LINE = 480, 120, 40
IMAGES_FPS = 10.0
# BGR, of a palette that colour-blind people can tell apart.
PAPER, INK, QUIET = (24, 20, 16), (240, 236, 232), (140, 130, 120)
SCORE, SHADE, ALARM = (245, 184, 108), (40, 82, 122), (75, 160, 240)


@dataclass(frozen=True)
class OverlayConfig(EvaluationOptions):
    """Options of overlays.

    Attributes:
        run: A run's folder, with its checkpoint, measurements and maps.
        out: The .mp4 file with --video; without it the folder that gets one file for each video.
        video: The one video that is wanted.
        measurements: Another file of measurements, with its maps beside it; measurements.npz of the run if left out.
        fps: Frames a second; those of the video if left out, or 10 where nothing says so.
        heatmap: score, where the score comes from, or error, where the model's frame differs from the true one. They
            are the same where the score is of the whole frame.
        codec: mp4v is quick to write and plays in most players; vp09 (VP9) plays in browsers, too, and takes many times
            as long.
    """

    run: Path
    out: Path
    video: str | None = None
    measurements: Path | None = None
    fps: float | None = None
    heatmap: Heatmap = "score"
    codec: Codec = "mp4v"

    def __post_init__(self) -> None:
        """Checks the ranges."""
        super().__post_init__()
        if self.fps is not None and not 0 < self.fps <= 240:
            raise ConfigError(f"fps must be greater than 0 and at most 240, got {self.fps}")
        if self.video is not None and self.out.suffix != ".mp4":
            raise ConfigError(f"with a video named, out must be a file NAME.mp4, got {self.out}")
        if self.video is None and self.out.suffix == ".mp4":
            raise ConfigError(f"out must be a folder for all videos, got {self.out}; name one video with --video")


def write_overlays(config: OverlayConfig) -> list[Path]:
    """Writes one file for each video, or for the one that is named.

    Args:
        config: What is drawn, how the run is evaluated, and where the files go.

    Returns:
        The files.

    Raises:
        DataError: If the run is not complete, or has no such video.
        ConfigError: If options do not fit.
        CheckpointError: If its checkpoint cannot be read.
        OutputError: If a file cannot be written whole.
    """
    evaluation = config.of(config.measurements or config.run)
    material = load_material(config.run, config.measurements)
    judgement = judge(evaluation, resamples=0)
    scores = judgement.outcome.score_maps(material.maps) if config.heatmap == "score" else None
    files = []
    for index, out in _places(config, material.measurements.videos).items():
        frames = draw_video(material, judgement, index, scores)
        name, count = material.measurements.videos[index], len(judgement.videos[index].rows)
        if count:
            rates = material.measurements.protocol.get("rates")
            fps = config.fps or (rates and rates[index]) or IMAGES_FPS
            write_video(out, track(frames, f"drawing video {name}", count), count, fps, config.codec)
            files.append(out)
    return files


def draw_video(
    material: Material, judgement: Judgement, index: int, scores: NDArray[np.float16] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Draws the frames of a video.

    Args:
        material: Of the run.
        judgement: Of its measurements.
        index: The video.
        scores: (N, G, G), where the score comes from, as the heatmap; the error if None.

    Yields:
        (640, 480, 3) uint8, BGR: the frame under its heatmap, a line of words, the curve with a cursor.
    """
    measurements, maps = judgement.measurements, material.maps
    video = judgement.videos[index]
    scale = error_scale(maps)
    curve = draw_curve(judgement, video)
    for place, row in enumerate(video.rows.tolist()):
        frame = maps.target[row]
        colour = np.repeat(frame, 3, axis=2) if frame.shape[2] == 1 else frame
        heat = on_scale(maps.error[row], scale) if scores is None else share_of_scale(scores[row], SCORE_SCALE)
        picture = blend(enlarge(colour, SIDE), enlarge(heat, SIDE))
        score = judgement.scores[row]
        words = f"{measurements.videos[index]}  frame {measurements.frame[row]}  score {score:.2f}"
        labelled = measurements.labels is not None and bool(measurements.labels[row])
        line = _words(words, alarm=any(alarm.first <= place <= alarm.last for alarm in video.alarms), labelled=labelled)
        yield np.concatenate([picture, line, _with_cursor(curve, place, len(video.rows))])


def draw_curve(judgement: Judgement, video: VideoJudgement) -> NDArray[np.uint8]:
    """Draws the score curve of a video, (120, 480, 3): labels shaded, alarms as a bar on top, the threshold dashed."""
    canvas = np.full((CURVE, SIDE, 3), PAPER, np.uint8)
    count = len(video.rows)
    for runs, top, bottom, colour in ((video.labelled, 0, CURVE, SHADE), (video.alarms, 0, 6, ALARM)):
        for first, last in runs:
            left, right = (round(edge * SIDE / count) for edge in (first, last + 1))
            cv2.rectangle(canvas, (left, top), (max(right - 1, left), bottom - 1), colour, cv2.FILLED)
    height = _height(judgement.threshold, judgement.span)
    for left in range(0, SIDE, 12):
        cv2.line(canvas, (left, height), (left + 6, height), INK, 1)
    points = [
        (_across(place, count), _height(score, judgement.span))
        for place, score in enumerate(judgement.scores[video.rows])
    ]
    cv2.polylines(canvas, [np.array(points, np.int32)], isClosed=False, color=SCORE, thickness=2, lineType=cv2.LINE_AA)
    return canvas


def write_video(path: Path, frames: Iterator[NDArray[np.uint8]], count: int, fps: float, codec: Codec = "mp4v") -> None:
    """Writes frames as .mp4, and reads the file back before it takes its place.

    Args:
        path: The file.
        frames: (H, W, 3) uint8, BGR, all of one size.
        count: How many there are.
        fps: Frames a second.
        codec: How they are coded.

    Raises:
        OutputError: If it cannot be written, or holds fewer frames when read back.
    """
    with atomic_write(path) as temporary, TemporaryDirectory(dir=path.parent) as folder:
        file = Path(folder) / "video.mp4"  # OpenCV knows the format by the name
        writer = cv2.VideoWriter()
        for frame in frames:
            if not writer.isOpened():
                size = (frame.shape[1], frame.shape[0])
                if not writer.open(str(file), cv2.VideoWriter.fourcc(*codec), fps, size):
                    raise OutputError(f"this OpenCV cannot write {codec} into an .mp4; choose another --codec")
            writer.write(frame)
        writer.release()
        found = _count_frames(file)
        if found != count:
            raise OutputError(f"{path} would hold {found} frames in place of {count}; is the disk full?")
        shutil.move(file, temporary)


def _places(config: OverlayConfig, videos: tuple[str, ...]) -> dict[int, Path]:
    if config.video is not None:
        if config.video not in videos:
            raise DataError(f"there is no video {config.video!r}; there are {', '.join(videos)}")
        return {videos.index(config.video): config.out}
    for name in videos:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(f"the measurements name a video {name!r}, which is no name for a file in {config.out}")
    return {index: config.out / f"{name}.mp4" for index, name in enumerate(videos)}


def _words(words: str, *, alarm: bool, labelled: bool) -> NDArray[np.uint8]:
    line = np.full((LINE, SIDE, 3), PAPER, np.uint8)
    cv2.putText(line, words, (8, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    if alarm:
        cv2.putText(line, "ALARM", (SIDE - 70, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.55, ALARM, 2, cv2.LINE_AA)
    if labelled:
        cv2.putText(line, "labelled abnormal", (SIDE - 215, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.5, QUIET, 1, cv2.LINE_AA)
    return line


def _with_cursor(curve: NDArray[np.uint8], place: int, count: int) -> NDArray[np.uint8]:
    marked = curve.copy()
    across = _across(place, count)
    cv2.line(marked, (across, 0), (across, CURVE - 1), INK, 2)
    return marked


def _across(place: int, count: int) -> int:
    return round((place + 0.5) * SIDE / count)


def _height(score: float, span: tuple[float, float]) -> int:
    low, high = span
    return round(10 + (CURVE - 14) * (high - score) / (high - low))


def _count_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count
