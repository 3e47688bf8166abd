"""The process that decodes one source, so that none can crash, hang or slow down the others.

    python -m mnad.watching.camera_process DESCRIPTOR

Through the pipe of that descriptor it is given an :class:`mnad.watching.messages.Order`, and answers each request for a
message with one. It ends when the other side does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.data.frames import as_shown, with_channels
from mnad.data.video import Converter
from mnad.runtime.errors import DataError
from mnad.watching.mailbox import Mailbox
from mnad.watching.messages import Alive, Ended, Frame, Message, Note, Order
from mnad.watching.pacing import Choice, Pacer
from mnad.watching.shots import Shot, shots_of_camera, shots_of_file, shots_of_folder
from mnad.watching.timeline import Timeline

THUMBNAIL = 64
WIDEST, QUALITY = 640, 80
LOOK_ROUND = 1.0  # seconds between looks whether the other side is there


class FrameMaker:
    """Makes frames for a model of what a source gives.

    Args:
        order: What is wanted.
        mailbox: Where they go.
        pacer: Chooses which frames do.
    """

    def __init__(self, order: Order, mailbox: Mailbox, pacer: Pacer) -> None:
        self.order, self.mailbox, self.pacer = order, mailbox, pacer
        self.timeline = Timeline()
        self.converter = Converter(3)
        self._fit = True

    def run(self) -> None:
        """Decodes until the source ends."""
        try:
            for shot in self._shots():
                self._take(shot)
        except DataError as error:
            self.mailbox.tell(Ended(str(error)))
        except Exception as error:  # a decoder that fails in its own way must not end in silence
            self.mailbox.tell(Ended(f"{type(error).__name__}: {error}"))
        else:
            self.mailbox.tell(Ended(None))

    def _shots(self) -> Iterator[Shot]:
        order = self.order
        if order.address.live:
            return shots_of_camera(order)
        if order.address.kind == "folder":
            return shots_of_folder(order, self._tell, lambda: self.mailbox.tell(Alive()))
        return shots_of_file(order, self._tell)

    def _tell(self, text: str) -> None:
        self.mailbox.tell(Note(text))

    def _take(self, shot: Shot) -> None:
        arrived = time.monotonic()
        live = self.order.address.live
        at = self.timeline.at(shot.stamp, arrived) if live or shot.stamp is None else shot.stamp
        choice = self.pacer.choose(at)
        if shot.known:
            return
        self.mailbox.count()
        if choice is not None:
            wall = time.time() - (time.monotonic() - at) if shot.wall is None else shot.wall
            self.mailbox.put(self._frame(shot, at, wall, arrived, choice))

    def _frame(self, shot: Shot, at: float, wall: float, arrived: float, choice: Choice) -> Frame:
        try:
            frame = self._made(shot, at, wall, arrived, choice)
        except DataError as error:
            if not isinstance(shot.position, tuple):
                raise
            if self._fit:  # other files of the folder may be as they should
                self._tell(f"{shot.position[0]} {error}")
            self._fit = False
            return self._made(shot._replace(image=None), at, wall, arrived, choice)
        self._fit = True
        return frame

    def _made(self, shot: Shot, at: float, wall: float, arrived: float, choice: Choice) -> Frame:
        image, order = shot.image, self.order
        pixels = thumbnail = picture = None
        if image is not None:
            whole = with_channels(image, 3) if isinstance(image, np.ndarray) else self.converter.pixels(image)
            self._check_depth(whole)
            pixels = as_shown(whole, order.size, order.channels, order.levels)
            colour = whole if order.levels is None else order.levels.to_bytes(whole)
            thumbnail = np.asarray(cv2.resize(colour, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)
            picture = _jpeg(colour)
        return Frame(shot.position, at, wall, arrived, choice == "follows", pixels, thumbnail, picture)

    def _check_depth(self, pixels: NDArray[Any]) -> None:
        levels = self.order.levels
        if levels is None and pixels.dtype != np.uint8:
            raise DataError(f"has {8 * pixels.itemsize} bits a pixel, and the model was trained on frames of 8")
        if levels is not None and pixels.dtype == np.uint8:
            raise DataError("has 8 bits a pixel, and the model was trained on frames of more")


def _jpeg(frame: NDArray[np.uint8]) -> bytes:
    """Returns a JPEG of a frame, not wider than people need it."""
    height, width = frame.shape[:2]
    if width > WIDEST:
        frame = np.asarray(
            cv2.resize(frame, (WIDEST, round(height * WIDEST / width)), interpolation=cv2.INTER_AREA), np.uint8
        )
    return bytes(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def main(descriptor: int) -> None:
    """Decodes as ordered until the source ends and its last message is taken, or the other side is gone."""
    for each in (signal.SIGINT, signal.SIGTERM):  # sent to all of a service; the other side ends this one
        signal.signal(each, signal.SIG_IGN)
    cv2.setNumThreads(1)
    pipe = Connection(descriptor)
    order: Order = pipe.recv()
    mailbox = Mailbox(order.window if order.address.live else 1, drops=order.address.live)
    pacer = Pacer(order.rate)
    threading.Thread(target=FrameMaker(order, mailbox, pacer).run, daemon=True).start()
    with suppress(EOFError, OSError):  # the other side is gone
        while not isinstance(_deliver(pipe, mailbox, pacer), Ended):
            pass
    os._exit(0)  # a decoder that hangs must not keep the process


def _deliver(pipe: Connection, mailbox: Mailbox, pacer: Pacer) -> Message:
    """Waits until a message is asked for and there is one, and sends it."""
    pipe.recv_bytes()
    while (message := mailbox.take(pacer, LOOK_ROUND)) is None:
        if pipe.poll():  # nothing is asked for twice: the other side is gone
            raise EOFError
    pipe.send(message)
    return message


if __name__ == "__main__":
    main(int(sys.argv[1]))
