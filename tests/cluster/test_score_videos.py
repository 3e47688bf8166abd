"""Scoring on a Ray cluster: equal to one machine bit for bit, each video once, whatever dies."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from mnad.artifacts.measurements import ARRAYS, Measurements, load_measurements
from mnad.pipeline import score_videos as score_videos_module
from mnad.pipeline import video_tasks
from mnad.pipeline.score import ScoreConfig, score
from mnad.pipeline.score_videos import Summary, score_videos
from mnad.runtime.errors import ConfigError, DataError

from tests.cluster.nodes import another_node, kill_a_node_at_work
from tests.cluster.videos import write_videos

CORRUPT = 7


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 videos, one of them corrupt."""
    folder = tmp_path_factory.mktemp("archive") / "videos"
    file = write_videos(folder, 40, frames=100)[CORRUPT]
    file.write_bytes(file.read_bytes()[:600])
    return folder


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """Six videos."""
    write_videos(tmp_path / "some", 6)
    return tmp_path / "some"


def command(run: Path, data: Path, out: Path, cluster: Any, *more: str) -> list[str]:
    options = ["--data", data, "--out", out, "--update", "per-video", "--engine", "ray", "--address", cluster.address]
    return [sys.executable, "-m", "mnad.cli", "score", str(run), *map(str, options), *more]


def by_ray(run: Path, data: Path, out: Path, cluster: Any, **options: Any) -> Summary:
    options = {"update": "per-video", **options}
    return score_videos(ScoreConfig(run, data, out=out, engine="ray", address=cluster.address, **options))


def same_bits(ours: Measurements, theirs: Measurements) -> None:
    assert ours.videos == theirs.videos
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


def times_of(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("*.npz")}


def test_a_node_dies_in_the_middle_and_one_video_is_corrupt(
    trained: Path, archive: Path, tmp_path: Path, cluster: Any
) -> None:
    """All other videos are scored, as one machine scores them; started again nothing is computed twice."""
    out = tmp_path / "scores" / "all.npz"
    running = subprocess.Popen(command(trained, archive, out, cluster), stdout=subprocess.PIPE, text=True)
    while len(list(out.parent.rglob("*.npz"))) < 8:
        assert running.poll() is None
        time.sleep(0.05)
    kill_a_node_at_work(cluster)
    printed = running.communicate(timeout=90)[0]
    assert running.returncode == 1  # as one has failed
    assert re.search(r"a worker on \S+ died .*; [12] tasks go to others", printed)
    assert "40 videos: 39 scored" in printed
    assert re.search(r"video v07 failed: .*v07.mp4 is not a video that FFmpeg can read", printed)
    ours = load_measurements(out)
    assert list(ours.protocol["failed"]) == ["v07"]
    assert ours.protocol["rates"] == [25.0] * 39
    whole = tmp_path / "whole"
    shutil.copytree(archive, whole, ignore=shutil.ignore_patterns("v07.mp4"))
    same_bits(ours, load_measurements(score(ScoreConfig(trained, whole, out=tmp_path / "one.npz", update="per-video"))))

    before = times_of(out.with_suffix(".videos"))
    again = by_ray(trained, archive, out, cluster)
    assert (again.computed, list(again.failed)) == (0, ["v07"])
    assert times_of(out.with_suffix(".videos")) == before
    same_bits(load_measurements(out), ours)


def test_the_same_job_twice_at_once(trained: Path, some: Path, tmp_path: Path, cluster: Any) -> None:
    """The second waits, and then finds all of it."""
    out = tmp_path / "all.npz"
    both = [subprocess.Popen(command(trained, some, out, cluster), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [each.communicate(timeout=90)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0]
    scored = [int(number) for text in printed for number in re.findall(r"6 videos: (\d+) scored", text)]
    assert sorted(scored) == [0, 6]
    assert sum("another command scores into" in text for text in printed) == 1
    assert len(load_measurements(out).videos) == 6


def test_stopped_and_gone_on_with(trained: Path, some: Path, tmp_path: Path, cluster: Any) -> None:
    write_videos(some, 30)
    out = tmp_path / "all.npz"
    # Tests that run in the background hand on that they ignore it.
    heeding = ["env", "--default-signal=INT", *command(trained, some, out, cluster)]
    running = subprocess.Popen(heeding, stderr=subprocess.PIPE, text=True)
    while len(times_of(tmp_path / "all.videos")) < 3:
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    printed = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "mnad score: stopped, and the videos that were done are kept; the same command goes on" in printed
    before = times_of(tmp_path / "all.videos")
    assert 3 <= len(before) < 30
    assert by_ray(trained, some, out, cluster).computed == 30 - len(before)
    after = times_of(tmp_path / "all.videos")
    assert before.items() <= after.items()


def test_what_has_changed_is_computed_anew_and_nothing_else(
    trained: Path, some: Path, tmp_path: Path, cluster: Any
) -> None:
    out = tmp_path / "all.npz"
    assert by_ray(trained, some, out, cluster, update="none").computed == 6
    write_videos(some, 1, frames=25)
    assert by_ray(trained, some, out, cluster, update="none").computed == 1
    measured = load_measurements(out)
    assert (measured.video == 0).sum() == 25 - 4
    assert by_ray(trained, some, out, cluster, update="none", batch_size=4).computed == 6
    same_bits(measured, load_measurements(score(ScoreConfig(trained, some, out=tmp_path / "one.npz", update="none"))))


def test_labels_and_a_video_without_a_window(trained: Path, some: Path, tmp_path: Path, cluster: Any) -> None:
    write_videos(some, 1, frames=3)
    (some / "labels.csv").write_text("video,first,last\nv02,5,9\n")
    ours = load_measurements(
        score(
            ScoreConfig(trained, some, out=tmp_path / "ray.npz", update="none", engine="ray", address=cluster.address)
        )
    )
    with pytest.warns(UserWarning, match=r"no frame can be scored of videos .* v00 \(3 frames\)"):
        theirs = load_measurements(score(ScoreConfig(trained, some, out=tmp_path / "one.npz", update="none")))
    same_bits(ours, theirs)
    assert ours.labels is not None
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.labels.sum() == 5
    assert ours.protocol["labels"] == theirs.protocol["labels"]

    other = shutil.move(some / "labels.csv", tmp_path / "other.csv")
    named = by_ray(trained, some, tmp_path / "ray.npz", cluster, update="none", labels=str(other))
    assert (named.computed, named.failed) == (1, {})  # the one that has no file
    again = load_measurements(tmp_path / "ray.npz")
    assert again.protocol["labels"] == "other.csv"
    np.testing.assert_array_equal(again.labels, theirs.labels)


def test_labels_of_the_videos_that_could_be_read(trained: Path, some: Path, tmp_path: Path, cluster: Any) -> None:
    (some / "v01.mp4").write_bytes(b"nothing")
    (some / "labels.csv").write_text("video,first,last\nv01,0,3\nv02,5,9\n")
    with pytest.warns(UserWarning, match="1 of 6 videos could not be scored: v01: .*v01.mp4 is not a video"):
        file = score(
            ScoreConfig(trained, some, out=tmp_path / "a.npz", update="none", engine="ray", address=cluster.address)
        )
    labels = load_measurements(file).labels
    assert labels is not None
    assert labels.sum() == 5


def test_long_videos_are_scored_in_parts(
    trained: Path, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of video files and of pictures; one with a hole in its times is read as a whole."""
    monkeypatch.setattr(video_tasks, "PIECE", 20)
    monkeypatch.setattr(video_tasks, "LEAST_SIZE", 0)
    data, out = tmp_path / "data", tmp_path / "all.npz"
    write_videos(data, 2, frames=75)
    (even,) = write_videos(tmp_path / "other", 1, frames=75)
    data_with_hole(even, data / "uneven.mkv")
    (data / "pictures").mkdir()
    for frame in range(70):
        pixels = np.roll(np.arange(16 * 16, dtype=np.uint8).reshape(16, 16), frame, axis=1)
        (data / "pictures" / f"{frame:02d}.pgm").write_bytes(b"P5 16 16 255\n" + pixels.tobytes())
    scored: list[str] = []
    monkeypatch.setattr(
        score_videos_module.Book, "take", lambda book, done, take=score_videos_module.Book.take: (
            scored.append(f"{done.task.video.name}{'' if done.task.piece is None else done.task.piece.number}"),
            take(book, done),
        )[1]
    )  # fmt: skip
    (data / "broken.mp4").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match=r"video uneven has 1 hole\(s\) in its times"):
        summary = by_ray(trained, data, out, cluster, update="none")
    assert (summary.computed, list(summary.failed)) == (4, ["broken"])
    assert len(load_measurements(out).protocol["faults"]) == 1
    (data / "broken.mp4").unlink()
    assert {"v000", "v001", "v002", "pictures0", "pictures1", "uneven"} <= set(scored)
    assert not list(tmp_path.rglob("*.part*"))
    with pytest.warns(UserWarning, match="1 hole"):
        theirs = load_measurements(score(ScoreConfig(trained, data, out=tmp_path / "one.npz", update="none")))
    same_bits(load_measurements(out), theirs)


def data_with_hole(file: Path, out: Path) -> None:
    """Copies a video whose frames from 30 on come later."""
    with av.open(str(file)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None and packet.dts is not None:
                late = 5 * (packet.duration or 0) * (packet.pts >= 30 * (packet.duration or 0))
                packet.pts, packet.dts = packet.pts + late, packet.dts + late
                packet.stream = stream
                target.mux(packet)


def test_without_joining(trained: Path, some: Path, tmp_path: Path, cluster: Any) -> None:
    summary = by_ray(trained, some, tmp_path / "all.npz", cluster, merge=False)
    assert summary.file is None
    assert not (tmp_path / "all.npz").exists()
    files = sorted(summary.folder.glob("*.npz"))
    assert [load_measurements(file).videos for file in files] == [(f"v{number:02d}",) for number in range(6)]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_the_disk_of_a_node_is_full(
    trained: Path, archive: Path, tmp_path: Path, cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its tasks go to others, and it gets no more."""
    with small_disk(tmp_path / "disk") as disk, another_node(cluster, TMPDIR=str(disk)):
        summary = by_ray(trained, archive, tmp_path / "all.npz", cluster)
    assert (summary.computed, list(summary.failed)) == (39, ["v07"])
    assert re.search(r"no more tasks for \S+: cannot write .*disk.*: No space left on device", capfd.readouterr().out)


def test_a_node_of_another_version(trained: Path, archive: Path, tmp_path: Path, cluster: Any) -> None:
    import mnad

    import mnad_ext

    other = tmp_path / "other"
    shutil.copytree(Path(mnad.__file__).parent, other / "mnad", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "mnad_ext").symlink_to(Path(mnad_ext.__file__).parent)
    (other / "mnad" / "runtime" / "version.py").write_text('__version__ = "0.0.1"\n')
    with another_node(cluster, PYTHONPATH=str(other)), pytest.raises(ConfigError, match=r"has mnad 0\.0\.1, and this"):
        by_ray(trained, archive, tmp_path / "all.npz", cluster)


def test_a_node_without_mnad(trained: Path, some: Path, tmp_path: Path, cluster: Any) -> None:
    broken = tmp_path / "broken" / "mnad"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('mnad was not installed here')\n")
    with (
        another_node(cluster, PYTHONPATH=str(broken.parent)),
        pytest.raises(ConfigError, match="no worker can begin on node .*not installed here.*install the same mnad"),
    ):
        by_ray(trained, some, tmp_path / "all.npz", cluster)


def test_bad_input(trained: Path, some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(message: str, error: type[Exception] = ConfigError, data: Path = some, **options: Any) -> None:
        with pytest.raises(error, match=message):
            score(ScoreConfig(trained, data, **{"engine": "ray", "update": "none", **options}))

    refused(
        "carried-over lets the items .* 6 videos .* give --update per-video or --update none", update="carried-over"
    )
    refused(r"no Ray cluster answers at 127\.0\.0\.1:9 .*ray start --head --port 9", address="127.0.0.1:9")
    refused("address must be HOST:PORT", address="somewhere")
    refused("that of a Ray client", address="ray://127.0.0.1:10001")
    refused("address 127.0.0.1:9 is that of a Ray cluster; give --engine ray", engine="local", address="127.0.0.1:9")
    refused("engine ray stores no maps", maps=True)
    refused("engine must be one of local, ray", engine="spark")
    (tmp_path / "empty").mkdir()
    refused("is laid out in no known way. It holds nothing", DataError, data=tmp_path / "empty")
    monkeypatch.setitem(sys.modules, "ray", None)
    refused(r"engine ray needs Ray; install it with: pip install 'mnad-ext\[ray\]'")
