"""Scoring the videos of a data set on a cluster: each once, whatever dies, and joined in the end."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from mnad.artifacts.checkpoint import Checkpoint, load_checkpoint
from mnad.artifacts.measurements import save_measurements, write_measurements
from mnad.artifacts.video_results import VideoResults, results_beside
from mnad.cluster.connection import connected
from mnad.cluster.fleet import Done, Fleet
from mnad.data.labels import settle_labels
from mnad.data.stretches import NotInPartsError
from mnad.pipeline.joining import join_pieces, join_videos
from mnad.pipeline.score import ScoreConfig
from mnad.pipeline.video_scorer import ScoredVideo, VideoScorer
from mnad.pipeline.video_tasks import VideoTask, find_videos, in_pieces, tasks_of
from mnad.runtime.errors import ConfigError, DataError, Interrupted
from mnad.runtime.files import alone, writable_folder
from mnad.runtime.places import Place, absolute
from mnad.runtime.progress import VideoProgress, log_to, print_line, without_passwords

USUAL_RATE = 25.0  # of a video that does not say
IN_FLIGHT = 2


@dataclass
class Summary:
    """What came of a job.

    Attributes:
        file: The joined measurements; None where they were not to be joined, or there are none.
        folder: Of the videos' files.
        videos: How many videos there are.
        computed: How many were scored now.
        failed: What is wrong with those that could not be scored, by name.
        seconds: That the job took.
        decoding: Seconds of all workers together that decoding took.
        computing: Seconds of all workers together that the network took.
        short: The number of frames of videos that are too short for a single window, by name.
    """

    file: Place | None
    folder: Place
    videos: int
    computed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    decoding: float = 0
    computing: float = 0
    short: dict[str, int] = field(default_factory=dict)

    def checked(self) -> Place:
        """Returns the file, or the folder where none was wanted, and warns of what failed.

        Raises:
            DataError: If no video could be scored.
        """
        if self.failed:
            words = "; ".join(f"{name}: {fault}" for name, fault in self.failed.items())
            if len(self.failed) == self.videos:
                raise DataError(f"no video could be scored: {words}")
            warnings.warn(f"{len(self.failed)} of {self.videos} videos could not be scored: {words}", stacklevel=2)
        return self.file or self.folder


def score_videos(config: ScoreConfig) -> Summary:
    """Scores each video of a split on the devices of a Ray cluster, unless that has been done.

    The files of the videos stand in a folder beside ``config.destination``. Of two commands for the same folder the
    second waits for the first.

    Raises:
        CheckpointError: If there is no usable checkpoint.
        DataError: If there are no videos, or the labels do not fit them.
        ConfigError: If the options do not fit each other, the model or the cluster.
        OutputError: If results cannot be written, or no machine can do its part.
        Interrupted: If it was stopped; the same command goes on.
    """
    checkpoint = load_checkpoint(config.run)
    split = find_videos(replace(config, data=absolute(config.data)))  # workers begin in other folders
    check_update(config, checkpoint, len(split.videos))
    names = [labels.name for labels in split.label_sets]
    default = names[0] if names and split.clear_default else None
    label_set = settle_labels(config.labels, names, default, without_passwords(str(config.data)), config.split)
    folder = results_beside(config.destination)
    with log_to(config.destination.with_suffix(".log")), _alone(writable_folder(folder)):
        summary = Summary(None, folder, len(split.videos))
        tasks = tasks_of(config, checkpoint, split)
        results = VideoResults(folder)
        began = time.perf_counter()
        try:
            _score_missing(config, checkpoint, tasks, results, summary)
        except KeyboardInterrupt:
            raise Interrupted("stopped, and the videos that were done are kept; the same command goes on") from None
        summary.seconds = time.perf_counter() - began
        done = [task for task in tasks if (task.video.name, task.key) in results]
        if config.merge and done:
            parts = [results.load(task.video.name, task.key) for task in done]
            measurements = join_videos(config, split, label_set, parts, summary.short, summary.failed)
            save_measurements(config.destination, measurements)
            summary.file = config.destination
        return summary


@contextmanager
def _alone(folder: Place) -> Iterator[None]:
    """Lets one command at a time score into a folder, and says so to one that waits."""
    with alone(folder, wait=False) as mine:
        if mine:
            yield
            return
    print_line(f"another command scores into {folder}; waiting for it to end")
    with alone(folder):
        yield


def check_update(config: ScoreConfig, checkpoint: Checkpoint, videos: int) -> None:
    """Makes sure that videos may be scored apart.

    Raises:
        ConfigError: If one depends on another.
    """
    if config.update == "carried-over" and checkpoint.config.memory is not None and videos > 1:
        raise ConfigError(
            f"update carried-over lets the items that one video leaves begin the next, so that the {videos} videos can "
            "only be scored one after the other; give --update per-video or --update none with --engine ray"
        )


def _score_missing(
    config: ScoreConfig, checkpoint: Checkpoint, tasks: Sequence[VideoTask], results: VideoResults, summary: Summary
) -> None:
    """Scores the videos of which there is no file, the largest first, so that none ends alone."""
    missing = [task for task in tasks if (task.video.name, task.key) not in results]
    if there := len(tasks) - len(missing):
        print_line(f"{there} of {len(tasks)} videos were scored before: {summary.folder}")
    if not missing:
        return
    book = Book(results, summary)
    todo = [piece for task in missing for piece in book.begin(task, in_pieces(task, config, checkpoint))]
    todo.sort(key=lambda task: -task.size)
    model = replace(checkpoint, optimizer=None)
    with connected(config.address) as ray, VideoProgress(len(missing), sum(task.size for task in missing)) as progress:
        fleet: Fleet[VideoTask, ScoredVideo] = Fleet(
            ray, VideoScorer, (config, model), accelerator=config.accelerator, in_flight=IN_FLIGHT
        )
        for done in fleet.run(todo):
            if again := book.take(done):
                fleet.add(again)
            hours = done.value.frames / (done.value.rate or USUAL_RATE) / 3600 if done.value else 0
            progress.advance(summary.computed + len(summary.failed), done.task.size, hours)


class Book:
    """Stores what comes of tasks, and joins the parts of a long video when all have come.

    Args:
        results: Where it is stored.
        summary: What is told in the end.
    """

    def __init__(self, results: VideoResults, summary: Summary) -> None:
        self.results, self.summary = results, summary
        self.pieces: dict[str, list[VideoTask]] = {}
        self.whole: dict[str, VideoTask] = {}

    def begin(self, task: VideoTask, pieces: Sequence[VideoTask]) -> list[VideoTask]:
        """Notes a video and its parts, and returns those of which there is no file."""
        if len(pieces) == 1:
            return [task]
        self.whole[task.video.name], self.pieces[task.video.name] = task, list(pieces)
        missing = [piece for piece in pieces if self._place(piece) not in self.results]
        return missing or [pieces[-1]]  # what comes joins them

    def take(self, done: Done[VideoTask, ScoredVideo]) -> VideoTask | None:
        """Stores what came of a task, and returns the video as a whole if it cannot be read in parts."""
        task, scored, name = done.task, done.value, done.task.video.name
        if task.piece is not None and name not in self.pieces:  # it is read as a whole, or has failed
            return None
        if isinstance(done.error, NotInPartsError) or (task.piece and scored and scored.measurements is None):
            self._forget_pieces(name)
            return self.whole[name]
        if scored is None:
            self._forget_pieces(name)
            self.summary.failed[name] = done.fault
            print_line(f"video {name} failed: {done.fault}")
            return None
        self.summary.decoding += scored.decoding
        self.summary.computing += scored.computing
        if scored.measurements is None:
            self.summary.short[name] = scored.frames
        else:
            self.results.save(*self._place(task), scored.measurements)
        faults: Sequence[str] = scored.faults if task.piece is None else self._joined_pieces(self.whole[name])
        for fault in faults:
            warnings.warn(fault, stacklevel=2)
        self.summary.computed += name not in self.pieces
        return None

    def _joined_pieces(self, task: VideoTask) -> Sequence[str]:
        """Joins the parts of a video if all are there, and returns what is wrong with it."""
        name, places = task.video.name, [self._place(piece) for piece in self.pieces[task.video.name]]
        if not all(place in self.results for place in places):
            return ()
        last = self.pieces[name][-1].piece
        assert last is not None
        measured = join_pieces([self.results.load(*place) for place in places], last.first)
        content = io.BytesIO()
        write_measurements(content, measured)
        self.results.save(name, task.key, content.getvalue())
        self._forget_pieces(name)
        return list(measured.protocol["faults"])

    def _forget_pieces(self, name: str) -> None:
        for piece in self.pieces.pop(name, ()):
            self.results.remove(*self._place(piece))

    @staticmethod
    def _place(task: VideoTask) -> tuple[str, str]:
        name = task.video.name if task.piece is None else f"{task.video.name}.part{task.piece.number:04d}"
        return name, task.key
