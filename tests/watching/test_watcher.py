"""The watching loop from within: what may go wrong beside it, and what must not end it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mnad.runtime.errors import ConfigError
from mnad.watching.addresses import parse_address
from mnad.watching.control import Control, StreamChange
from mnad.watching.feed import Feed
from mnad.watching.history import History, WatchedEvent
from mnad.watching.page.server import make_app
from mnad.watching.places import Places
from mnad.watching.settings import StreamOptions, WatchConfig
from mnad.watching.streams import FrameResult
from mnad.watching.watched_model import WatchedModel
from mnad.watching.watcher import DATABASE, Watcher
from mnad.watching.zones import Zone
from starlette.testclient import TestClient

from tests.watching.samples import FPS, all_test_frames, free_port, wait_for, write_video

LEFT = Zone(((0, 0), (0.5, 0), (0.5, 1), (0, 1)), "left")


@pytest.fixture(scope="module")
def video(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "yard.mp4", all_test_frames(synthetic))


@pytest.fixture
def watcher(held_out: Path, video: Path, tmp_path: Path) -> Iterator[Watcher]:
    """One that is not started."""
    made = Watcher(config(held_out, video, tmp_path / "out"))
    yield made
    for stream in made.streams.values():
        stream.feed.stop()
    made.recorder.wait()
    made.ledger.close()


def config(run: Path, video: Path, out: Path, **options: Any) -> WatchConfig:
    return WatchConfig(run=run, source=[f"yard={video}"], out=out, accelerator="cpu", realtime=True, **options)


def add(watcher: Watcher, name: str, **options: Any) -> None:
    settings = watcher.config.settings_of(name, StreamOptions(**options))
    Control(watcher).add(settings, watcher.load(settings.run))


def test_who_asks_and_goes_away_ends_nothing(watcher: Watcher) -> None:
    asked = [watcher.call(lambda: 1) for _ in range(3)]
    assert asked[1].cancel()
    watcher.step()
    assert (asked[0].result(0), asked[2].result(0)) == (1, 1)


def test_what_fails_within_the_loop_is_told_to_who_asked(watcher: Watcher) -> None:
    asked = watcher.call(lambda: watcher.streams["no such"])
    watcher.step()
    assert isinstance(asked.exception(0), KeyError)


def test_a_folder_that_was_removed_ends_nothing(watcher: Watcher, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(watcher.clips)
    watcher.step()  # cleans up at once
    event = WatchedEvent("a1", "yard", "s", "open", 1.0, 2.0, 3, 4, 1.5, 0.9, 0.5)
    watcher.ledger.write(lambda history: history.put_event(event))
    assert [each.id for each in watcher.ledger.read(lambda history: history.open_events())] == ["a1"]


def test_what_can_never_be_written_holds_nothing_up(watcher: Watcher, capsys: pytest.CaptureFixture[str]) -> None:
    event = WatchedEvent("a1", "yard", "s", "open", 1.0, 2.0, 3, 4, 1.5, 0.9, 0.5)
    watcher.ledger.write(lambda history: history.put_event(event, "began", ["lines", "lines"]))
    assert watcher.ledger.waiting == 0
    assert "cannot be written: IntegrityError" in capsys.readouterr().err


def test_a_decoder_that_cannot_be_started_is_tried_again(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(24, "Too many open files")

    feed = watcher.streams["yard"].feed
    monkeypatch.setattr("mnad.watching.feed.Pipe", full)
    feed.start()
    assert feed.fault == "its decoder cannot be started: Too many open files"
    assert feed.process is None


def test_events_that_were_left_open_are_closed_whose_ever_they_are(held_out: Path, video: Path, tmp_path: Path) -> None:
    with History(tmp_path / DATABASE) as history, history.at_once():
        for stream in ("yard", "removed"):
            history.put_event(WatchedEvent(stream, stream, "old", "open", 1.0, 2.0, 3, 4, 1.5, 0.9, 0.5))
    made = Watcher(config(held_out, video, tmp_path))
    made._go_on()
    assert made.ledger.read(lambda history: history.open_events()) == []
    notice = made.ledger.read(lambda history: history.next_notice("lines"))
    assert notice is not None
    assert notice.content["note"] == "watching was interrupted"
    made.recorder.wait()
    made.ledger.close()


def test_a_refused_stream_leaves_nothing_behind(watcher: Watcher, video: Path) -> None:
    with pytest.raises(ConfigError, match="calibrated for"):
        add(watcher, "gate", address=str(video), zones=(LEFT,), false_alarms_per_hour=7)
    assert set(watcher.streams) == {"yard"}
    add(watcher, "gate", address=str(video))
    assert "gate" not in watcher.streams["gate"].model.streams.regions
    with pytest.raises(ConfigError, match="there is a stream gate already"):
        add(watcher, "gate", address=str(video))


def test_one_model_by_two_paths_is_loaded_once(watcher: Watcher, held_out: Path, video: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(held_out, tmp_path / "copy")
    add(watcher, "gate", address=str(video), run=copied)
    assert watcher.streams["gate"].model is watcher.streams["yard"].model


def test_a_model_is_loaded_beside_the_loop(
    watcher: Watcher, held_out: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = list[threading.Thread]()

    def noted(*arguments: Any) -> WatchedModel:
        loading.append(threading.current_thread())
        return WatchedModel(*arguments)

    monkeypatch.setattr("mnad.watching.watcher.WatchedModel", noted)
    copied = shutil.copytree(held_out, tmp_path / "copy")
    options = {"name": "gate", "address": str(video), "run": str(copied)}
    client = TestClient(make_app(watcher, None), base_url="http://127.0.0.1")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(client.post, "/api/streams", json=options)
        wait_for(lambda: watcher.step() or answer.done())
    assert answer.result().status_code == 201
    assert len(loading) == 1
    assert loading[0] is not threading.main_thread()
    assert watcher.streams["gate"].model is watcher.streams["yard"].model


def test_a_threshold_by_hand_is_what_was_asked_for_and_follows_drift_from_there(
    held_out: Path, video: Path, tmp_path: Path
) -> None:
    made = Watcher(config(held_out, video, tmp_path, drift=0.5, drift_hours=1.0))
    stream = made.streams["yard"]
    assert stream.drift is not None
    before = stream.threshold
    for level in (0.1, 0.3):
        stream.drift._first.extend([0.1] * (6 - len(stream.drift._first)))
        stream.drift._last.extend([level] * 6)
    stream._follow("test")
    assert stream.threshold == pytest.approx(before + 0.2)
    Control(made).change("yard", StreamChange(threshold=1.25))
    assert stream.threshold == pytest.approx(1.25)
    stream.drift._last.extend([0.4] * 6)
    stream._follow("test")
    assert stream.threshold == pytest.approx(1.35)
    state = stream.as_dict()
    again = Watcher(config(held_out, video, tmp_path / "again", drift=0.5, drift_hours=1.0)).streams["yard"]
    again.restore({**state, "session": "another"})
    assert again.threshold == pytest.approx(1.35)
    for each in (made,):
        each.recorder.wait()
        each.ledger.close()


def test_the_zone_of_an_error_is_looked_for_within_the_zones_alone() -> None:
    errors = np.zeros((32, 32), np.float32)
    errors[3, 3], errors[20, 30] = 0.5, 1.0

    class Whole(FrameResult):
        score_map = None  # the score is of the whole frame
        error_map = errors

    assert Places([LEFT]).of(Whole())[0] == "left"
    assert Places([Zone(LEFT.polygon, "tree", "ignore"), Zone(((0.5, 0), (1, 0), (1, 1)), "door")]).of(Whole())[0] == (
        "door"
    )


def test_what_is_gone_after_a_restart_leaves_others_watched(
    held_out: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied, folder = shutil.copy(video, tmp_path / "copy.mp4"), tmp_path / "drop"
    folder.mkdir()
    options = config(held_out, video, tmp_path / "out")
    options = replace(options, source=[*options.source, f"copy={copied}", f"drop={folder}", "usb=/dev/video97"])
    first = Watcher(options)
    first.save()
    first.ledger.close()
    copied.unlink()
    folder.rmdir()
    second = Watcher(options)
    second._go_on()
    second.save()
    assert list(second.streams) == ["yard", "drop", "usb"]
    assert f"copy: {copied} is there no more, and is passed over" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="there is no file, folder or device"):
        add(second, "new", address=str(copied))
    drop = second.streams["drop"]
    drop.feed.start()
    wait_for(lambda: second.step() or drop.feed.fault)
    assert drop.feed.fault == f"cannot look into {folder}: No such file or directory"
    folder.mkdir()
    wait_for(lambda: second.step() or drop.feed.fault == "")
    for stream in second.streams.values():
        stream.feed.stop()
    second.ledger.close()
    folder.rmdir()
    third = Watcher(options)
    assert list(third.streams) == ["yard", "drop", "usb"]
    with pytest.raises(ConfigError, match="there is no file, folder or device"):
        Watcher(replace(options, out=tmp_path / "another"))
    third.ledger.close()


def test_a_camera_that_is_back_soon_was_not_offline(held_out: Path, tmp_path: Path) -> None:
    options = WatchConfig(
        run=held_out,
        source=[f"gate=http://127.0.0.1:{free_port()}/video"],
        out=tmp_path,
        accelerator="cpu",
        timeout=5,
    )
    made = Watcher(options)
    gate = made.streams["gate"]
    gate.start()
    wait_for(lambda: made.step() or gate.feed.fault)
    assert gate.feed.fault.startswith("cannot be opened")
    assert gate.condition is None
    wait_for(lambda: made.step() or gate.condition == "offline")
    assert time.monotonic() - gate._came >= 5
    gate.feed.stop()
    made.ledger.close()


def test_a_folder_that_nobody_writes_to_any_more_is_offline(
    held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    made = Watcher(WatchConfig(run=held_out, source=[f"drop={folder}"], out=tmp_path / "out", accelerator="cpu"))
    drop = made.streams["drop"]
    drop.start()
    made.step()
    assert drop.condition is None
    monkeypatch.setattr("mnad.watching.stream.QUIET", 0.5)
    wait_for(lambda: made.step() or drop.condition == "offline")
    assert drop.feed.process is not None
    drop.feed.stop()
    made.ledger.close()


def test_a_folder_of_what_cannot_be_watched_is_offline(
    held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnad.watching.stream.QUIET", 1.0)
    (tmp_path / "drop").mkdir()
    made = Watcher(WatchConfig(run=held_out, source=[f"drop={tmp_path / 'drop'}"], out=tmp_path, accelerator="cpu"))
    drop = made.streams["drop"]
    for number in range(5):
        cv2.imwrite(str(tmp_path / "drop" / f"{number}.png"), np.zeros((8, 8), np.uint16))
    drop.start()
    wait_for(lambda: made.step() or drop.condition == "offline")
    wait_for(lambda: made.step() or drop.counters.unreadable == 5)
    assert drop.condition == "offline"
    cv2.imwrite(str(tmp_path / "drop" / "5.png"), np.zeros((8, 8), np.uint8))
    os.utime(tmp_path / "drop" / "5.png", (1e9, 1e9))
    wait_for(lambda: made.step() or drop.condition is None)
    with sqlite3.connect(tmp_path / DATABASE) as database:
        times = database.execute("SELECT began, ended FROM health").fetchall()
    assert times
    assert all(began <= ended for began, ended in times)
    drop.feed.stop()
    made.ledger.close()


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EACCES])
def test_a_disk_of_the_network_that_is_not_reached_is_gone(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "stat", fails)
    assert parse_address("/mnt/nas/camera").kind == "folder"
    assert parse_address("/mnt/nas/camera.mp4").kind == "file"
    assert parse_address("/mnt/nas/camera").is_gone


def test_a_model_of_few_frames_has_the_time_it_takes(watcher: Watcher) -> None:
    stream = watcher.streams["yard"]
    order = replace(stream._order(), rate=0.05)
    feed = Feed(lambda: order)
    feed.start()
    feed.stop()
    assert feed.patience == 60


def test_a_folder_goes_on_in_time_after_a_pause(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    pictures = sorted(min((synthetic / "testing" / "frames").iterdir()).iterdir())
    folder = tmp_path / "upload"
    folder.mkdir()
    for picture in pictures[:20]:
        shutil.copy2(picture, folder / picture.name)
    made = Watcher(WatchConfig(run=held_out, source=[f"drop={folder}"], out=tmp_path / "out", accelerator="cpu"))
    stream, times = made.streams["drop"], list[float]()

    def watch_until(picture: Path) -> None:
        end = time.monotonic() + 20
        while stream.position != (picture.name, 0) and time.monotonic() < end:
            made.step()
            if stream.last is not None and stream.last[0].time not in times[-1:]:
                times.append(stream.last[0].time)

    stream.feed.start()
    watch_until(pictures[19])
    stream.pause(paused=True)
    stream.pause(paused=False)
    for picture in pictures[20:30]:
        shutil.copy2(picture, folder / picture.name)
    watch_until(pictures[29])
    np.testing.assert_allclose(np.diff(times), 1 / FPS, atol=1e-6)
    assert stream.position == (pictures[29].name, 0)
    stream.feed.stop()
    made.recorder.wait()
    made.ledger.close()
