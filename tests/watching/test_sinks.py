"""Who is told of events: a real broker, a real receiver, a real scrape; and what they are told after they were down."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from mnad.runtime.errors import OutputError
from mnad.watching.history import History, Notice, WatchedEvent
from mnad.watching.sinks.base import SinkError
from mnad.watching.sinks.mqtt import Mqtt
from mnad.watching.sinks.outbox import Outbox
from mnad.watching.sinks.webhook import Webhook
from prometheus_client.parser import text_string_to_metric_families

from tests.watching.samples import (
    Watching,
    all_test_frames,
    events_in,
    free_port,
    keys_of,
    wait_for,
    watching,
    write_video,
)
from tests.watching.servers import Listener, Receiver, broker

OPTIONS = ["--no-health", "--threshold=0.3", "--min-length=2"]


@pytest.fixture(scope="module")
def video(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "yard.mp4", all_test_frames(synthetic))


def test_a_receiver_that_fails_at_first_is_told_all_once_and_in_order(
    held_out: Path, video: Path, tmp_path: Path
) -> None:
    sources = [f"--source=yard={video}", "--realtime"]
    with (
        Receiver(503) as receiver,
        watching(tmp_path, held_out, *sources, *OPTIONS, f"--sink=phone={receiver.url}") as running,
    ):
        wait_for(lambda: receiver.refused >= 2)
        assert running.process.poll() is None
        receiver.status = 200
        running.wait()
        # Whoever waits longer for it when the watching ends is told by the next process.
        with watching(tmp_path, held_out, *sources, *OPTIONS, f"--sink=phone={receiver.url}") as again:
            again.wait()
        events = running.events()
        assert len(events) >= 2
        of_each = [key for key, content in receiver.received if content["kind"] != "health"]
        assert sorted(of_each) == keys_of(events)
        assert all(of_each.index(f"{event['id']} began") < of_each.index(f"{event['id']} ended") for event in events)
    assert "phone cannot be told: it answers 503" in running.said
    assert running.said.count("cannot be told") == 1
    assert "phone is told again" in running.said
    assert "secret-word" not in running.said + (tmp_path / "watch.log").read_text()


def test_a_receiver_that_is_not_there_is_told_by_a_later_process(held_out: Path, video: Path, tmp_path: Path) -> None:
    with Receiver(200) as receiver:
        url = receiver.url
    arguments = [held_out, f"--source=yard={video}", *OPTIONS]
    with watching(tmp_path, *arguments, f"--sink=phone={url}") as running:
        assert running.wait() == 0
    with Receiver(200) as receiver:
        History(tmp_path / "history.sqlite").close()
        with watching(tmp_path, *arguments, f"--sink=other={receiver.url}") as running:
            running.wait()
        assert [content["kind"] for _, content in receiver.received] in ([], ["health"])
    assert f"there is no sink phone any more: {len(keys_of(running.events())) + 1} notices" in running.said


def test_mqtt_with_home_assistant_discovery(held_out: Path, video: Path, tmp_path: Path) -> None:
    port = free_port()
    arguments = [held_out, f"--source=yard={video}", "--realtime", *OPTIONS]
    with broker(port, tmp_path / "broker"), Listener(port) as listener:
        with watching(
            tmp_path / "out", *arguments, f"--sink=house=mqtt://user:secret@127.0.0.1:{port}/cameras"
        ) as running:
            wait_for(lambda: listener.on("cameras/yard/event"))
            assert listener.on("cameras/status")[-1] == b"online"
            running.wait()
        _check_told(listener, running)
        kinds = {"binary_sensor": "abnormal", "sensor": "health", "image": "picture"}
        for kind, name in kinds.items():
            config = json.loads(listener.on(f"homeassistant/{kind}/cameras_yard/{name}/config")[0])
            assert config.get("state_topic", config.get("image_topic")) == f"cameras/yard/{name}"
            assert config["unique_id"] == f"cameras_yard_{name}"
            assert config["availability_topic"] == "cameras/status"
    assert "secret" not in running.said


def _check_told(listener: Listener, running: Watching) -> None:
    told = [json.loads(payload)["key"] for payload in listener.on("cameras/yard/event")]
    assert sorted(told) == keys_of(running.events())
    assert listener.on("cameras/yard/abnormal")[-1] == b"OFF"
    assert b"ON" in listener.on("cameras/yard/abnormal")
    assert listener.on("cameras/yard/picture")[-1].startswith(b"\xff\xd8")
    wait_for(lambda: listener.on("cameras/status")[-1] == b"offline")


def test_a_broker_that_is_down_for_a_while_is_told_all(held_out: Path, video: Path, tmp_path: Path) -> None:
    port = free_port()
    address = f"mqtt://user:secret@127.0.0.1:{port}/cameras"
    arguments = [held_out, f"--source=yard={video}", "--realtime", *OPTIONS, f"--sink=house={address}"]
    with Listener(port) as listener, watching(tmp_path / "out", *arguments) as running:
        wait_for(running.events)
        with broker(port, tmp_path / "broker"):
            wait_for(lambda: listener.on("cameras/yard/event"))
            running.wait()
            with watching(tmp_path / "out", *arguments) as again:  # what was left to tell
                again.wait()
            _check_told(listener, running)
    assert "house cannot be told: the broker cannot be reached" in running.said


def test_the_broker_says_that_a_killed_process_is_offline(held_out: Path, video: Path, tmp_path: Path) -> None:
    port = free_port()
    address = f"mqtt://user:secret@127.0.0.1:{port}/cameras"
    with (
        broker(port, tmp_path / "broker"),
        Listener(port) as listener,
        watching(
            tmp_path / "out", held_out, f"--source=yard={video}", "--realtime", *OPTIONS, f"--sink=house={address}"
        ) as running,
    ):
        wait_for(lambda: listener.on("cameras/status") == [b"online"])
        running.process.kill()
        wait_for(lambda: listener.on("cameras/status") == [b"online", b"offline"])


def test_a_wrong_password_of_a_broker_is_told(held_out: Path, video: Path, tmp_path: Path) -> None:
    port = free_port()
    with (
        broker(port, tmp_path / "broker"),
        watching(
            tmp_path / "out",
            held_out,
            f"--source=yard={video}",
            "--realtime",
            *OPTIONS,
            f"--sink=house=mqtt://user:not-it@127.0.0.1:{port}",
        ) as running,
    ):
        wait_for(lambda: "house cannot be told: Not authorized" in running.said)
        running.stop()
    assert "not-it" not in running.said


def test_prometheus_can_scrape(held_out: Path, video: Path, tmp_path: Path) -> None:
    port = free_port()
    arguments = [held_out, f"--source=yard={video}", *OPTIONS, f"--page=127.0.0.1:{port}"]

    def scraped() -> dict[tuple[str, ...], float]:
        try:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx.ConnectError:
            return {}
        families = text_string_to_metric_families(text)
        return {
            (sample.name, sample.labels.pop("stream", ""), *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    with watching(tmp_path, *arguments) as running:
        wait_for(lambda: scraped().get(("mnad_frames_total", "yard", "read")) == 120)
        found = scraped()
        running.stop()
    assert found["mnad_frames_total", "yard", "scored"] == 116
    assert found["mnad_events_total", "yard"] == len(running.events())
    assert found["mnad_health", "yard", "well"] == 1
    assert found["mnad_health", "yard", "offline"] == 0
    assert found["mnad_threshold", "yard"] == 0.3
    assert 0 < found["mnad_latency_seconds", "yard", "0.5"] <= found["mnad_latency_seconds", "yard", "0.99"] < 10
    assert found["mnad_sink_reached", "", "lines"] == 1


NOTICE = Notice(1, "a1 began", {"kind": "began", "stream": "gate", "id": "a1"})


def test_a_redirection_is_a_fault_that_names_the_right_address() -> None:
    class Moved(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(301)
            self.send_header("Location", "https://user:not-it@other/hook/not-it?auth=not-it")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Moved)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sink = Webhook(f"http://127.0.0.1:{server.server_port}/hook")
    with pytest.raises(SinkError, match=r"301 Moved Permanently: give the address at https://other that it names$"):
        sink.tell(NOTICE)
    sink.close()
    server.shutdown()
    server.server_close()


def test_a_broker_that_hangs_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had not confirmed in time is not published again."""
    monkeypatch.setattr("mnad.watching.sinks.mqtt.PUBLISH", 0.5)
    port = free_port()
    with broker(port, tmp_path) as server, Listener(port) as listener:
        sink = Mqtt(f"mqtt://user:secret@127.0.0.1:{port}", tmp_path)
        (tmp_path / "a1.jpg").write_bytes(b"picture")
        wait_for(lambda: listener.on("mnad/status"))
        server.send_signal(signal.SIGSTOP)
        for _ in range(2):
            with pytest.raises(SinkError, match=r"the broker has not taken it within 0\.5 s"):
                sink.tell(NOTICE)
        server.send_signal(signal.SIGCONT)
        sink.tell(NOTICE)
        wait_for(lambda: listener.on("mnad/gate/abnormal"))
        sink.close()
        assert listener.on("mnad/gate/picture") == [b"picture"]
        assert [json.loads(payload)["key"] for payload in listener.on("mnad/gate/event")] == [NOTICE.key]


def test_a_broker_that_goes_amid_a_notice_is_told_each_part_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    with broker(port, tmp_path), Listener(port) as listener:
        sink = Mqtt(f"mqtt://user:secret@127.0.0.1:{port}", tmp_path)
        (tmp_path / "a1.jpg").write_bytes(b"picture")
        wait_for(lambda: listener.on("mnad/status"))
        with monkeypatch.context() as patch:
            connected = iter([True, True, False])
            patch.setattr(sink._client, "is_connected", lambda: next(connected))
            with pytest.raises(SinkError, match="the broker cannot be reached"):
                sink.tell(NOTICE)
        sink.tell(NOTICE)
        sink.tell(replace(NOTICE, key="a1 ended"))
        wait_for(lambda: len(listener.on("mnad/gate/abnormal")) == 2)
        sink.close()
        assert [json.loads(payload)["key"] for payload in listener.on("mnad/gate/event")] == ["a1 began", "a1 ended"]


def test_a_full_disk_at_the_end_tells_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting:
        def __init__(self) -> None:
            self.told = list[str]()

        def tell(self, notice: Notice) -> None:
            self.told.append(notice.key)

        def close(self) -> None:
            pass

    def full(*_: object) -> None:
        raise OutputError("the disk is full")

    with History(tmp_path / "history.sqlite") as history, history.at_once():
        history.put_health("gate", None, 1.0, "", ["phone"])
    monkeypatch.setattr(History, "told", full)
    sink = Counting()
    outbox = Outbox("phone", sink, tmp_path / "history.sqlite", lambda _: None)
    outbox.start()
    wait_for(lambda: sink.told)
    outbox.stop(5)
    assert len(sink.told) == 1
    assert not outbox._thread.is_alive()


def test_what_files_written_at_one_time_have_shown_is_told_of_each(tmp_path: Path) -> None:
    with History(tmp_path / "history.sqlite") as history:
        for at, condition in enumerate(("black", None, "black")):
            with history.at_once():
                history.put_health("drop", condition, 1.0, "", ["lines"], at)
        assert history.waiting("lines") == 3


def test_a_power_cut_leaves_no_state_ahead_of_the_history(tmp_path: Path) -> None:
    """What is written is on the disk before the state that goes on from it is."""
    with History(tmp_path / "history.sqlite") as history:
        assert history._database.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_sink_that_fails_in_its_own_way_is_tried_again(tmp_path: Path) -> None:
    class Odd:
        asked, told = 0, list[str]()

        def tell(self, notice: Notice) -> None:
            self.asked += 1
            if self.asked == 1:
                raise ValueError("what nobody thought of")
            self.told.append(notice.key)

        def close(self) -> None:
            pass

    with History(tmp_path / "history.sqlite") as history, history.at_once():
        history.put_health("gate", None, 1.0, "", ["odd"])
    sink, said = Odd(), list[str]()
    outbox = Outbox("odd", sink, tmp_path / "history.sqlite", said.append)
    outbox.start()
    wait_for(lambda: sink.told)
    wait_for(lambda: "odd is told again" in said)
    outbox.stop(5)
    assert said[0].startswith("odd cannot be told: ValueError: what nobody thought of")
    assert outbox.fault == ""


def test_who_reads_no_errors_any_more_ends_nothing(held_out: Path, video: Path, tmp_path: Path) -> None:
    """What is said goes nowhere, and the lines go on."""
    command = [sys.executable, "-m", "mnad.cli", "watch", str(held_out), f"--source=yard={video}", *OPTIONS]
    with (tmp_path / "lines").open("wb") as lines:
        process = subprocess.Popen(
            [*command, "--realtime", f"--out={tmp_path / 'out'}"], stdout=lines, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        process.stderr.close()
        assert process.wait(60) == 0
    told = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert sorted(each["key"] for each in told if each["kind"] != "health") == keys_of(events_in(tmp_path / "out"))


def test_an_event_is_told_once_however_often_it_is_written(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    event = WatchedEvent("a1", "gate", "s", "open", 1.0, 2.0, 3, 4, 1.5, 0.9, 0.5)
    for _ in range(3):
        with history.at_once():
            history.put_event(event, "began", ["lines"])
    assert history.waiting("lines") == 1
    notice = history.next_notice("lines")
    assert notice is not None
    history.told(notice, "lines")
    with history.at_once():
        history.put_event(event, "began", ["lines"])
    assert history.waiting("lines") == 0
