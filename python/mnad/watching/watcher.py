"""The loop of ``mnad watch``: frames of all streams in, one pass of the network for each model, events out."""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import TypeVar

from mnad.runtime.errors import CheckpointError, ConfigError, OutputError
from mnad.runtime.files import alone, writable_folder
from mnad.runtime.progress import log_to, print_beside
from mnad.watching.history import History, closed
from mnad.watching.ledger import Ledger
from mnad.watching.messages import Frame
from mnad.watching.recorder import Kind, Recorder
from mnad.watching.retention import adopt_partial_clips, remove_old
from mnad.watching.settings import StreamSettings, WatchConfig
from mnad.watching.sinks.open import open_sink
from mnad.watching.sinks.outbox import Outbox
from mnad.watching.stream import WatchedStream
from mnad.watching.streams import FrameResult
from mnad.watching.watched_model import WatchedModel

T = TypeVar("T")
TICK = 0.2
PATIENCE = 5.0  # seconds that a sink may take at the end
STATUS_EVERY, CLEAN_EVERY = 60.0, 600.0
DATABASE, EVENTS, STATE, LOG = "history.sqlite", "events", "state", "watch.log"


class Watcher:
    """Watches all streams until it is stopped, or all files have come to their ends.

    Args:
        config: What is watched, and how.

    Raises:
        ConfigError: If options do not fit each other or the models.
        CheckpointError: If a model cannot be used.
        OutputError: If the folder cannot be written to.
    """

    def __init__(self, config: WatchConfig) -> None:
        self.config, self.folder = config, writable_folder(config.out)
        settings = config.all_streams()
        self.models: dict[Path, WatchedModel] = {}
        for run in dict.fromkeys(each.run for each in settings):
            self._use(run, self.load(run))
        self.clips = writable_folder(self.folder / EVENTS)
        self.ledger = Ledger(History(self.folder / DATABASE), print_beside)
        self.recorder = Recorder(self.clips, self._file_written, self._file_failed)
        self.streams: dict[str, WatchedStream] = {}
        self.outboxes = self._open_sinks()
        for each in settings:
            if each.address.is_gone and each.address.kind == "file" and self._is_known(each):
                print_beside(f"{each.name}: {each.address} is there no more, and is passed over")
            else:
                self.add(each, self.models[each.run])
        self.stopping = False
        now = time.monotonic()
        self._next = {"save": now + config.save_every, "status": now + STATUS_EVERY, "clean": now}
        self._faults: set[str] = set()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._woken, self._wake = Pipe(duplex=False)

    def _open_sinks(self) -> list[Outbox]:
        path = self.folder / DATABASE
        forgotten = self.ledger.read(lambda history: history.forget_sinks(list(self.config.sinks)))
        for name, count in forgotten.items():
            print_beside(f"there is no sink {name} any more: {count} notices that it was to be told are forgotten")
        opened = {name: open_sink(each, self.clips) for name, each in self.config.sinks.items()}
        return [Outbox(name, sink, path, print_beside) for name, sink in opened.items()]

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Lets the loop call a function between two passes of the network; any thread may ask for that.

        Args:
            function: What is called. Streams are safe to look at and to change within it.
        """
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return  # whoever asked is gone
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

        self._calls.put(call)
        self._wake.send_bytes(b"")
        return future

    def load(self, run: Path) -> WatchedModel:
        """Loads the model of a run, if it is not there; this takes a while, and any thread may do it.

        Raises:
            CheckpointError: If it cannot be used.
            ConfigError: If its scores are smoothed by frames to come.
        """
        if run in self.models:
            return self.models[run]
        state = writable_folder(self.folder / STATE)
        return WatchedModel(run, state, self.config)

    def _use(self, run: Path, loaded: WatchedModel) -> None:
        """Takes a model for a run; one that is there already, by whatever path, is the same."""
        known = {model.identity: model for model in self.models.values()}
        self.models[run] = known.get(loaded.identity, loaded)

    @property
    def _each_model(self) -> list[WatchedModel]:
        return list(dict.fromkeys(self.models.values()))

    def add(self, settings: StreamSettings, model: WatchedModel) -> WatchedStream:
        """Adds a stream, with the model that :meth:`load` has loaded for it."""
        if settings.name in self.streams:
            raise ConfigError(f"there is a stream {settings.name} already")
        if settings.address.is_gone and not self._is_known(settings):
            raise ConfigError(f"there is no file, folder or device {str(settings.address)!r} to read frames from")
        self._use(settings.run, model)
        stream = WatchedStream(settings, self.config, self.models[settings.run], self.ledger, self.recorder)
        self.streams[settings.name] = stream
        return stream

    def _is_known(self, settings: StreamSettings) -> bool:
        """Whether a stream was watched before; then what is gone may come back, and must not keep others unwatched."""
        return self.ledger.read(lambda history: history.knows(settings.name, str(settings.address)))

    def remove(self, name: str) -> None:
        """Ends a stream and forgets it; its events stay.

        Raises:
            KeyError: If there is none of this name.
        """
        stream = self.streams.pop(name)
        stream.feed.stop()
        stream.events.finish("the stream was removed")
        stream.model.streams.forget(name)

    def run(self) -> None:
        """Watches."""
        self._go_on()
        for outbox in self.outboxes:
            outbox.start()
        for stream in self.streams.values():
            if stream.done:
                print_beside(f"{stream.name}: was watched to its end already; what was found is in {self.folder}")
            else:
                stream.start()
        try:
            while not self.stopping and not self._all_done():
                self.step()
        finally:
            self._end()

    def _all_done(self) -> bool:
        """Whether all files have come to their ends; with a page, streams may be added yet."""
        return self.config.page is None and all(stream.done for stream in self.streams.values())

    def step(self) -> None:
        """Waits for frames, scores all that have come, and does what is due."""
        frames: dict[str, Frame] = {}
        pipes = {stream.feed.pipe: stream for stream in self.streams.values() if stream.feed.pipe is not None}
        ready = wait([*pipes, self._woken], TICK)
        if self.stopping:  # who stops this process may have stopped those that decode, too
            return
        while self._woken.poll():
            self._woken.recv_bytes()
            self._calls.get()()
        for stream in [stream for pipe, stream in pipes.items() if pipe in ready and stream.feed.pipe is pipe]:
            if (frame := stream.receive()) is not None:
                frames[stream.name] = frame
            if frame is None or not stream.live:
                stream.feed.ask()  # it goes on decoding while the network computes
        for model in self._each_model:
            of_model = {name: frames[name] for name in frames if self.streams[name].model is model}
            if of_model:
                self._score(model, of_model)
        for stream in self.streams.values():
            stream.look_after()
        self._do_what_is_due()

    def _score(self, model: WatchedModel, frames: dict[str, Frame]) -> None:
        try:
            results = model.streams.step({name: frame.pixels for name, frame in frames.items()})
        except CheckpointError as error:  # nothing finite
            self._say_once(str(error))
            results = {}
        for name, frame in frames.items():
            stream = self.streams[name]
            stream.judge(frame, results.get(name, FrameResult()))
            if stream.live:
                stream.feed.ask()  # for the newest there is then

    def _do_what_is_due(self) -> None:
        if self._is_due("save", self.config.save_every):
            self.ledger.flush()
            self.save()
        if self._is_due("status", STATUS_EVERY):
            for stream in self.streams.values():
                print_beside(stream.status())
            if self.recorder.left_out:
                print_beside(f"{self.recorder.left_out} frames were left out of clips, which are written too slowly")
        if self._is_due("clean", CLEAN_EVERY):
            remove_old(self.ledger, self.clips, self.config, time.time())

    def _is_due(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._next[what]:
            return False
        self._next[what] = now + every
        return True

    def save(self) -> None:
        """Writes the state of all streams, once all is written that was found up to it."""
        if self.ledger.waiting:
            return
        for model in self._each_model:
            notes = {name: stream.as_dict() for name, stream in self.streams.items() if stream.model is model}
            try:
                model.save(notes)
                self._faults.discard("state")
            except OutputError as error:
                self._say_once(str(error), key="state")

    def _go_on(self) -> None:
        """Goes on from where the last process was, however that ended."""
        for model in self._each_model:
            notes = model.load()
            for name, stream in self.streams.items():
                if stream.model is model and name in notes:
                    stream.restore(notes[name])
        self._close_what_was_left()
        adopt_partial_clips(self.ledger, self.clips)
        self.save()  # without one a stream is new

    def _close_what_was_left(self) -> None:
        """Closes the events that another process has left open, but for those that go on."""
        for event in self.ledger.read(lambda history: history.open_events()):
            stream = self.streams.get(event.stream)
            if stream is None or stream.live or stream.session != event.session:
                sinks = tuple(self.config.sinks) if stream is None else stream.settings.sinks
                put = partial(History.put_event, event=closed(event, "watching was interrupted"), told="ended")
                self.ledger.write(partial(put, sinks=sinks))

    def _end(self) -> None:
        for stream in self.streams.values():
            stream.feed.stop()
            if stream.live:
                stream.events.finish("watching was stopped")
            print_beside(stream.status())
        self.recorder.wait()
        self.ledger.flush()
        self.save()
        for outbox in self.outboxes:
            outbox.stop(PATIENCE)
        self.ledger.close()

    def _file_written(self, event: str, kind: Kind, name: str) -> None:
        self._faults = {fault for fault in self._faults if not fault.startswith(kind)}
        self.ledger.write(lambda history: history.put_file(event, kind, name))

    def _file_failed(self, event: str, kind: Kind, why: str) -> None:
        self._say_once(f"the {kind} of event {event} cannot be written: {why}", key=f"{kind} {why}")

    def _say_once(self, text: str, key: str | None = None) -> None:
        if (key or text) not in self._faults:
            self._faults.add(key or text)
            print_beside(text)


def watch(config: WatchConfig) -> bool:
    """Watches streams until it is stopped by Ctrl-C or SIGTERM, or all files have come to their ends.

    Args:
        config: What is watched, and how.

    Returns:
        Whether all that has ended came to its end well.

    Raises:
        ConfigError: If options do not fit each other or the models, or another process watches into the same folder.
        CheckpointError: If a model cannot be used.
        DataError: If a file is no video.
        OutputError: If the folder cannot be written to.
    """
    folder = writable_folder(config.out)
    with alone(folder / DATABASE, wait=False) as mine:
        if not mine:
            raise ConfigError(f"another mnad watch writes into {folder}; name another folder with --out")
        with log_to(folder / LOG):
            watcher = Watcher(config)
            with _stopped_by_signals(watcher), _page(watcher):
                watcher.run()
            return not any(stream.done and stream.feed.fault for stream in watcher.streams.values())


@contextmanager
def _page(watcher: Watcher) -> Iterator[None]:
    """Serves the page within the block, if one is wanted."""
    address = watcher.config.listens
    if address is None:
        yield
        return
    try:
        from mnad.watching.page.server import Page
    except ModuleNotFoundError as error:
        raise ConfigError(f"the page needs {error.name}: pip install 'mnad-ext[watch]'") from None
    page = Page(address, watcher)
    page.start()
    print_beside(f"the page is at {page.url}")
    try:
        yield
    finally:
        page.stop()


@contextmanager
def _stopped_by_signals(watcher: Watcher) -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end the watching once the frames that are being scored are judged."""

    def stop(*_: int | FrameType | None) -> None:
        watcher.stopping = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
