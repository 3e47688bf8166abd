"""What the processes of a run tell each other outside of its steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

import torch.distributed as dist

from mnad.runtime.errors import MnadError
from mnad.training.launch import node_name

UNLIMITED = timedelta(days=1000)
OF_GLOO = ("gloo", "Application timeout")  # its errors are plain RuntimeErrors
T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of some work: its result, or the error that ended it."""

    result: T | None = None
    error: MnadError | None = None


class Ranks:
    """The processes of a run; a fault on one of them is raised on all, so that none waits for another.

    They wait for each other however long one works, but not for one that has ended. So messages go over gloo, whose
    connections break with their process, on a GPU, too.

    Args:
        rank: The number of this process.
        count: How many there are.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.first, self.count, self.node = rank == 0, count, node_name()
        self._group = dist.new_group(backend="gloo", timeout=UNLIMITED) if self.count > 1 else None

    def by_first(self, work: Callable[[], T]) -> T:
        """Lets the first process do some work alone, and returns its result on all.

        Raises:
            MnadError: If the work raised it; on all.
        """
        outcome = _outcome(work) if self.first else Outcome[T]()
        if self._group is not None:
            outcomes = [outcome]
            with lost_processes():
                dist.broadcast_object_list(outcomes, group=self._group)
            [outcome] = outcomes
        return _result(outcome)

    def by_all(self, work: Callable[[], T]) -> T:
        """Does some work on every process, and returns its own result.

        Raises:
            MnadError: If it was raised on one of them; the first of these, on all.
        """
        own = _outcome(work)
        if self._group is not None:
            errors: list[MnadError | None] = [None] * self.count
            with lost_processes():
                dist.all_gather_object(errors, own.error, group=self._group)
            if (first := next(filter(None, errors), None)) is not None:
                raise first
        return _result(own)


@contextmanager
def lost_processes() -> Iterator[None]:
    """Says in words what it means when a message to other processes fails.

    Raises:
        MnadError: In place of what torch says.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or any(words in str(error) for words in OF_GLOO)):
            raise
        # Without the place in gloo's source before it, and advice after it.
        words = re.sub(r"^\[\S*\] ", "", str(error)).splitlines()[0].partition(". ")[0]
        raise MnadError(
            f"another process of the run has ended or is out of reach ({words}); its own output says why. The same "
            "commands with --resume go on from the last checkpoint"
        ) from error


def _outcome(work: Callable[[], T]) -> Outcome[T]:
    try:
        return Outcome(result=work())
    except MnadError as error:
        return Outcome(error=error)


def _result(outcome: Outcome[T]) -> T:
    if outcome.error is not None:
        raise outcome.error
    return outcome.result  # type: ignore[return-value]
