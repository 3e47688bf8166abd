"""``mnad watch`` on recordings: what it finds is what ``mnad evaluate`` finds, each event with a clip and a picture."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.score import ScoreConfig, score

from tests.watching.samples import FPS, Watching, all_test_frames, children_of, wait_for, watching, write_video

# Such that some frames are above it; the model was trained for a second.
RULE: dict[str, Any] = {"hysteresis": 0.1, "merge_gap": 2, "min_length": 3}
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in RULE.items()]


@pytest.fixture(scope="module")
def video(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "yard.mp4", 3 * all_test_frames(synthetic))


@pytest.fixture(scope="module")
def threshold(held_out: Path, video: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """A threshold that about a quarter of the frames are above, as far as can be from the score of any."""
    run = shutil.copytree(held_out, tmp_path_factory.mktemp("scored") / "run")
    score(ScoreConfig(run, video, accelerator="cpu"))
    outcome = evaluate_run(EvaluateConfig(run, normalisation="calibrated", threshold=1e9))
    upper = np.sort(outcome.scores)[len(outcome.scores) * 6 // 10 :][: len(outcome.scores) * 3 // 10]
    gap = int(np.argmax(np.diff(upper)))
    return float(upper[gap : gap + 2].mean())


@pytest.fixture(scope="module")
def offline(held_out: Path, video: Path, threshold: float, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What ``mnad evaluate`` finds in the same file."""
    run = shutil.copytree(held_out, tmp_path_factory.mktemp("offline") / "run")
    score(ScoreConfig(run, video, accelerator="cpu"))
    outcome = evaluate_run(EvaluateConfig(run, normalisation="calibrated", threshold=threshold, **RULE))
    assert outcome.detection is not None
    assert len(outcome.detection.alarms) >= 3
    return outcome.detection.alarms


@pytest.fixture(scope="module")
def watched(held_out: Path, video: Path, threshold: float, tmp_path_factory: pytest.TempPathFactory) -> Watching:
    out = tmp_path_factory.mktemp("watched") / "out"
    arguments = ["--source", f"yard={video}", f"--threshold={threshold}", *OPTIONS, "--no-health", "--before=1"]
    with watching(out, held_out, *arguments, "--after=1") as running:
        assert running.wait() == 0, running.said
    return running


def test_events_are_those_of_evaluate(watched: Watching, offline: Any) -> None:
    found = watched.events()
    assert [(event["first"], event["last"]) for event in found] == [(alarm.first, alarm.last) for alarm in offline]
    np.testing.assert_allclose([event["score"] for event in found], [alarm.score for alarm in offline], atol=1e-3)
    for event, alarm in zip(found, offline, strict=True):
        assert event["duration"] == pytest.approx((alarm.last - alarm.first) / FPS, abs=0.002)
        assert event["peak"] - event["began"] == pytest.approx((alarm.peak - alarm.first) / FPS, abs=0.002)
        assert event["state"] == "closed"


def test_each_event_is_printed_when_it_begins_and_when_it_ends(watched: Watching) -> None:
    told = [(line["kind"], line["id"]) for line in watched.told]
    ids = [event["id"] for event in watched.events()]
    assert sorted(told) == sorted([("began", each) for each in ids] + [("ended", each) for each in ids])
    assert all(told.index(("began", each)) < told.index(("ended", each)) for each in ids)


def test_each_event_has_a_clip_and_a_picture(watched: Watching) -> None:
    for event in watched.events():
        clip = watched.out / "events" / event["clip"]
        with av.open(str(clip)) as container:
            frames = list(container.decode(video=0))
        assert frames[0].width == 64
        seconds = float(frames[-1].pts * frames[-1].time_base)
        assert event["duration"] <= seconds <= event["duration"] + 2 + 2 / FPS
        picture = cv2.imread(str(watched.out / "events" / event["picture"]))
        assert picture is not None
        assert picture.shape == (64, 64, 3)
        assert np.ptp(picture.mean(axis=2) - picture[..., 0]) > 20  # grey frames, and a heatmap in colour


def test_a_file_that_was_watched_to_its_end_is_not_watched_again(
    watched: Watching, held_out: Path, video: Path, threshold: float
) -> None:
    before = watched.events()
    arguments = ["--source", f"yard={video}", f"--threshold={threshold}", *OPTIONS, "--no-health"]
    with watching(watched.out, held_out, *arguments) as again:
        assert again.wait() == 0
    assert "was watched to its end already" in again.said
    assert again.events() == before


def test_a_stopped_process_goes_on_where_it_was(
    held_out: Path, video: Path, threshold: float, offline: Any, tmp_path: Path
) -> None:
    arguments = ["--source", f"yard={video}", f"--threshold={threshold}", *OPTIONS, "--no-health"]
    with watching(tmp_path, held_out, *arguments, "--realtime") as running:
        wait_for(running.events)
        assert running.stop() == 0
    with watching(tmp_path, held_out, *arguments) as running:
        assert running.wait() == 0
    assert [(event["first"], event["last"]) for event in running.events()] == [
        (alarm.first, alarm.last) for alarm in offline
    ]


def test_who_stops_all_processes_of_a_service_loses_no_stream(
    held_out: Path, video: Path, threshold: float, tmp_path: Path
) -> None:
    """As systemd does: it tells those that decode, too."""
    arguments = ["--source", f"yard={video}", f"--threshold={threshold}", *OPTIONS, "--no-health", "--realtime"]
    with watching(tmp_path, held_out, *arguments) as running:
        wait_for(running.events)
        for process in [*children_of(running.process.pid), running.process.pid]:
            os.kill(process, signal.SIGTERM)
        assert running.process.wait(30) == 0
    assert "crashed" not in running.said
    assert running.events()[-1]["note"] == ""
    assert {line["condition"] for line in running.lines if line["kind"] == "health"} == {"well"}


def test_killed_ten_times_it_neither_loses_nor_doubles_an_event(
    held_out: Path, video: Path, threshold: float, offline: Any, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    arguments = ["--source", f"yard={video}", f"--threshold={threshold}", *OPTIONS, "--no-health", "--save-every=0.2"]
    for _ in range(10):
        with watching(tmp_path, held_out, *arguments, "--realtime") as running:
            wait_for(lambda: (tmp_path / "history.sqlite").is_file())
            time.sleep(float(generator.uniform(0.1, 1.5)))
            running.stop(signal.SIGKILL)
    with watching(tmp_path, held_out, *arguments) as running:
        assert running.wait() == 0, running.said
    found = running.events()
    assert [(event["first"], event["last"]) for event in found] == [(alarm.first, alarm.last) for alarm in offline]
    assert {event["state"] for event in found} == {"closed"}
    told = [line["key"] for line in running.told]
    assert set(told) == {f"{event['id']} {kind}" for event in found for kind in ("began", "ended")}
    left = [path.name for path in (tmp_path / "events").iterdir() if path.name.startswith(".")]
    assert not left


def test_two_runs_watch_a_stream_each(held_out: Path, video: Path, tmp_path: Path) -> None:
    other = shutil.copytree(held_out, tmp_path / "other")
    config = tmp_path / "watch.yaml"
    config.write_text(
        f"run: {held_out}\nstreams:\n  one: {{address: {video}}}\n  two: {{address: {video}, run: {other}}}\n"
    )
    with watching(tmp_path / "out", "--config", config, "--no-health") as running:
        assert running.wait() == 0, running.said
    scored = [line for line in running.said.splitlines() if " scored, " in line]
    assert {line.split(":")[0] for line in scored} == {"one", "two"}
    assert all("356 scored, 0 dropped" in line for line in scored), scored


def test_a_recording_of_another_rate_is_brought_to_that_of_the_model(
    held_out: Path, synthetic: Path, tmp_path: Path
) -> None:
    frames = all_test_frames(synthetic)[:100]
    doubled = [frame for frame in frames for _ in range(2)]
    write_video(tmp_path / "fast.mp4", doubled, 2 * FPS)
    write_video(tmp_path / "slow.mp4", frames, FPS / 2.5)
    sources = [f"--source={name}={tmp_path / name}.mp4" for name in ("fast", "slow")]
    with watching(tmp_path / "out", held_out, *sources, "--no-health") as running:
        assert running.wait() == 0, running.said
    assert "slow: has 10 frames/s, and its model was trained at 25" in running.said
    lines = {line.split(":")[0]: line for line in running.said.splitlines() if " scored, " in line}
    assert " 96 scored" in lines["fast"]
    assert " 0 scored" in lines["slow"]
