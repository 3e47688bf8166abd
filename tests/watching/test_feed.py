"""A source's process: a loop that was held up does not take it for one that hangs."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from mnad.watching.addresses import parse_address
from mnad.watching.feed import Feed
from mnad.watching.messages import Delivery, Order

from tests.watching.samples import FPS, wait_for
from tests.watching.servers import MjpegCamera

TIMEOUT = 0.5


@pytest.fixture
def feed(camera: MjpegCamera) -> Iterator[Feed]:
    """The process of a camera that has given its first frame, and is asked for the next."""
    address = parse_address(camera.url)
    order = Order(address, size=64, channels=3, levels=None, rate=FPS, began=0.0, window=5)
    feed = Feed(lambda: order)
    feed.start()
    try:
        assert isinstance(received(feed), Delivery)
        feed.patience = TIMEOUT
        feed.ask()
        yield feed
    finally:
        feed.stop()


def received(feed: Feed) -> object:
    assert feed.pipe is not None
    wait_for(feed.pipe.poll)
    return feed.receive()


def test_what_was_sent_in_time_is_taken_however_late(feed: Feed) -> None:
    assert feed.pipe is not None
    wait_for(feed.pipe.poll)
    time.sleep(2 * TIMEOUT)
    feed.look_after()
    assert isinstance(received(feed), Delivery)
    feed.ask()
    newest = received(feed)
    assert isinstance(newest, Delivery)
    assert newest.dropped >= TIMEOUT * FPS
    assert time.monotonic() - newest.frames[-1].time < TIMEOUT + 1


def test_a_source_has_time_from_when_it_is_asked(feed: Feed) -> None:
    assert isinstance(received(feed), Delivery)
    time.sleep(2 * TIMEOUT)
    feed.ask()
    feed.look_after()
    assert isinstance(received(feed), Delivery)
    assert (feed.restarts, feed.fault) == (0, "")


def test_a_process_that_hangs_is_ended(feed: Feed) -> None:
    assert feed.process is not None
    assert isinstance(received(feed), Delivery)
    feed.process.send_signal(signal.SIGSTOP)
    feed.ask()
    time.sleep(2 * TIMEOUT)
    feed.look_after()
    assert (feed.process, feed.fault) == (None, f"it gave no frame for {TIMEOUT:g} s")
