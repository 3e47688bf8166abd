"""What must not end the watching, or lose an event: a full disk, a clock set back, bad input, a second process."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from mnad.cli import main

from tests.watching.samples import all_test_frames, free_port, wait_for, watching, write_video
from tests.watching.servers import MjpegCamera, missing

OPTIONS = ["--no-health", "--threshold=0.3", "--min-length=2", "--save-every=0.5"]


@pytest.fixture(scope="module")
def video(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "yard.mp4", 4 * all_test_frames(synthetic))


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A disk of so many kilobytes within the block."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        missing("a small disk cannot be mounted (root is needed)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_nothing_and_loses_no_event(held_out: Path, video: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8000) as disk:
        out = disk / "out"
        filler = disk / "filler"
        arguments = [held_out, f"--source=yard={video}", "--realtime", *OPTIONS]
        with watching(out, *arguments, said_in=tmp_path / "said") as running:
            wait_for(running.events)
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))
            wait_for(lambda: "cannot write" in running.said)
            time.sleep(2)
            assert running.process.poll() is None, running.said
            filler.unlink()
            assert running.wait() == 0, running.said
        assert "Traceback" not in running.said
        told, found = sorted(line["key"] for line in running.told), running.events()
        assert told == sorted(f"{event['id']} {kind}" for event in found for kind in ("began", "ended"))
    with watching(tmp_path / "out", held_out, f"--source=yard={video}", *OPTIONS) as again:
        again.wait()
    assert [(event["first"], event["last"]) for event in found] == [
        (event["first"], event["last"]) for event in again.events()
    ]
    assert len(found) >= 3


def test_a_clock_that_is_set_back_changes_no_duration(held_out: Path, tmp_path: Path) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        missing("no libfaketime (Debian: apt-get install faketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with (
        MjpegCamera() as camera,
        watching(
            tmp_path / "out",
            held_out,
            f"--source=gate={camera.url}",
            "--no-health",
            "--threshold=-100",
            "--save-every=0.5",
            environment=environment,
        ) as running,
    ):
        wait_for(running.events)
        clock.write_text("-3600")
        time.sleep(3)
        camera.mode = "stall"
        wait_for(lambda: running.events()[0]["state"] == "closed")
        camera.mode = "frames"
        wait_for(lambda: len(running.events()) >= 2)
        running.stop()
    first, second = running.events()[:2]
    assert 0 <= first["duration"] < 60
    assert first["began"] <= first["ended"]  # one frame, where the machine was too busy for more before the hole
    assert -3600 < second["began"] - first["began"] < -3500  # by the clock as it is then
    assert second["number"] > first["number"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["RUN"], "there is nothing to watch: give --source NAME=ADDRESS"),
        (["RUN", "--source=gate=no/such.mp4"], "no/such.mp4' to read frames from"),
        (["RUN", "--source=gate=ftp://host/x"], "must begin with rtsp://"),
        (["RUN", "--source=a b=VIDEO"], "the name of a stream must begin with a letter or digit"),
        (["RUN", "--source=gate=VIDEO", "--source=gate=rtsp://127.0.0.1:1/x"], "two streams are called gate"),
        (["RUN", "--source=gate=TEXT"], "is not a video that FFmpeg can read"),
        (["TRAINED", "--source=gate=VIDEO"], "is not calibrated"),
        (["FOLDER", "--source=gate=VIDEO"], "there is no checkpoint at"),
        (["RUN", "--source=gate=VIDEO", "--false-alarms-per-hour=7"], "calibrated for 3600, 36000 false alarms"),
        (["RUN", "--source=gate=VIDEO", "--hysteresis=-1"], "hysteresis must be at least 0"),
        (["RUN", "--source=gate=VIDEO", "--sink=phone=ftp://x"], "the address of a sink must begin with"),
        (["RUN", "--source=gate=VIDEO", "--sink=x=http://u:not-it@h", "--sink=x=http://h"], "two sinks are called x"),
        (["RUN", "--source=gate=VIDEO", "--page=0.0.0.0:0"], "so it needs a token"),
        (["RUN", "--source=gate=VIDEO", "--page=8080"], "page must be HOST:PORT"),
        (["RUN", "--source=gate=VIDEO", "--page=127.0.0.1:USED"], "cannot listen on"),
        (["RUN", "--source=gate=rtsp://user:not-it/@host/x"], "a URL cannot be read"),
        (["RUN", "--source=gate=rtsp://[::1/x"], "a URL cannot be read"),
        (["RUN", "--source=gate=VIDEO", "--sink=house=mqtt://host/a+b"], "cannot hold + or #"),
        (["RUN", "--source=gate=VIDEO", "--drift=-1"], "drift must be a finite number and not negative"),
        (["--config=TEXT_SINK"], "sink"),
        (["--config=ADDRESS"], "rtsp://***@"),
        (["--config=ZONE"], "has the corner (1.5, 0.0) outside of the picture"),
        (["--config=RATE"], "rate is of a file or a folder"),
        (["--config=SINK"], "names the sink phone; there are lines"),
        (["--config=BEGINS"], "begins must be a time such as"),
    ],
)
def test_bad_input_is_told(
    held_out: Path,
    trained: Path,
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    (tmp_path / "text.txt").write_text("no video")
    configs = {
        "ZONE": f"{{address: {video}, zones: [{{polygon: [[0, 0], [1.5, 0], [1, 1]]}}]}}",
        "RATE": "{address: 'rtsp://127.0.0.1:1/x', rate: 5}",
        "SINK": f"{{address: {video}, sinks: [phone]}}",
        "BEGINS": f"{{address: {video}, begins: yesterday}}",
    }
    (tmp_path / "TEXT_SINK.yaml").write_text(f"run: {held_out}\nsource: [gate={video}]\nsink: house=mqtt://host\n")
    (tmp_path / "ADDRESS.yaml").write_text(f"run: {held_out}\nstreams: {{gate: 'rtsp://user:not-it@host/x'}}\n")
    for name, stream in configs.items():
        (tmp_path / f"{name}.yaml").write_text(f"run: {held_out}\nstreams: {{gate: {stream}}}\n")
    with MjpegCamera() as camera:
        places = {
            "RUN": str(held_out),
            "TRAINED": str(trained),
            "FOLDER": str(tmp_path),
            "VIDEO": str(video),
            "TEXT": str(tmp_path / "text.txt"),
            "USED": camera.url.split(":")[-1].split("/")[0],
            **{path.stem: str(path) for path in tmp_path.glob("*.yaml")},
        }
        given = [_filled_in(argument, places) for argument in arguments]
        try:
            status = main(["watch", *given, "--out", str(tmp_path / "out")])
        except SystemExit as stop:
            status = int(str(stop.code))
    told = capsys.readouterr().err
    assert status == 2, told
    assert words in told
    assert "not-it" not in told


def _filled_in(argument: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        argument = argument.replace(name, place)
    return argument


def test_two_processes_do_not_watch_into_one_folder(held_out: Path, tmp_path: Path) -> None:
    with MjpegCamera() as camera:
        arguments = [held_out, f"--source=gate={camera.url}", *OPTIONS]
        with watching(tmp_path / "out", *arguments) as first:
            wait_for(lambda: (tmp_path / "out" / "history.sqlite").is_file())
            with watching(tmp_path / "out", *arguments) as second:
                assert second.wait() == 2
            assert "another mnad watch writes into" in second.said
            first.stop()


def test_a_state_of_another_model_is_not_gone_on_with(
    held_out: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [held_out, f"--source=yard={video}", *OPTIONS]
    with watching(tmp_path / "out", *arguments) as running:
        running.wait()
    state = next((tmp_path / "out" / "state").glob("*.safetensors"))
    state.write_bytes(state.read_bytes()[:-100])
    before = running.events()
    with watching(tmp_path / "out", *arguments) as running:
        assert running.wait() == 0
    assert "the state of the streams is lost, and they begin anew" in running.said
    assert [event["id"] for event in running.events()] == [event["id"] for event in before]
    assert shutil.disk_usage(tmp_path).free > 0


def test_old_events_are_removed_with_their_files(held_out: Path, video: Path, tmp_path: Path) -> None:
    config = tmp_path / "watch.yaml"
    config.write_text(
        f"run: {held_out}\nstreams:\n  old: {{address: {video}, begins: '2020-01-01T00:00:00'}}\n"
        f"  new: {{address: {video}}}\n"
    )
    arguments = ["--config", config, *OPTIONS]
    for _ in range(2):  # a recording may be as old as it is: what counts is when it was watched
        with watching(tmp_path / "out", *arguments) as running:
            running.wait()
        assert {event["stream"] for event in running.events()} == {"old", "new"}
    with sqlite3.connect(tmp_path / "out" / "history.sqlite") as database:
        a_month_ago = time.time() - 31 * 24 * 3600
        database.execute("UPDATE events SET found = ? WHERE stream = 'old'", (a_month_ago,))
    with watching(tmp_path / "out", *arguments, f"--page=127.0.0.1:{free_port()}") as running:
        wait_for(lambda: {event["stream"] for event in running.events()} == {"new"})
        running.stop()
    named = {event[kind] for event in running.events() for kind in ("clip", "picture")}
    assert {path.name for path in (tmp_path / "out" / "events").iterdir()} == named
