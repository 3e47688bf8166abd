"""How a run is stopped: by signals that the loop looks at between steps, at the same step on all processes."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric import Fabric

# Several processes ask each other now and then, as it takes a message; schedulers kill 30 seconds after SIGTERM.
SECONDS_BETWEEN_AGREEMENTS = 1.0
MOST_STEPS_BETWEEN_AGREEMENTS = 20
PARENT = os.getppid()  # early: it may end while the data are prepared


class StopRequests:
    """Turns Ctrl-C and SIGTERM into a request to stop; a second one ends the process at once.

    torchrun passes on every signal that it gets, and a scheduler may send it to all processes as well: under torchrun
    further ones change nothing, and it kills whoever is there half a minute later. A process whose torchrun was killed
    asks for a stop, too, as nobody would know of it any more.

    Args:
        fabric: The run's.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self._received: list[int] = []
        self._by_torchrun = dist.is_torchelastic_launched()
        self._previous: dict[int, Any] = {}
        self._next, self._asked = 0, time.monotonic()
        self._step: int | None = None  # of the last agreement

    def __enter__(self) -> StopRequests:
        """Begins to listen."""
        self._previous = {number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def agreed(self, step: int) -> bool:
        """Returns whether to stop after a step: the same on all processes, which must ask after every one."""
        if self.fabric.world_size == 1:
            return self._requested()
        if step < self._next:
            return False
        now = time.monotonic()
        pace = (now - self._asked) / (1 if self._step is None else step - self._step)  # seconds a step
        message = torch.tensor([float(self._requested()), pace], dtype=torch.float64, device=self.fabric.device)
        stop, pace = self.fabric.all_reduce(message, reduce_op="max").tolist()  # type: ignore[union-attr]
        self._step, self._asked = step, now
        self._next = step + min(max(int(SECONDS_BETWEEN_AGREEMENTS / pace), 1), MOST_STEPS_BETWEEN_AGREEMENTS)
        return bool(stop > 0)

    def _requested(self) -> bool:
        return bool(self._received) or (self._by_torchrun and os.getppid() != PARENT)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._received.append(number)
        if len(self._received) > 1 and not self._by_torchrun:
            raise KeyboardInterrupt
