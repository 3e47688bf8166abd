"""Sharing the parts of an experiment: among processes that have a folder in common, or the devices of a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mnad.cluster.connection import connected
from mnad.cluster.fleet import About, Fleet, about_here
from mnad.cluster.shared_folder import SharedFolder, shared_folder
from mnad.reproduction.runner import Part, Runner
from mnad.runtime.errors import DataError
from mnad.runtime.progress import print_line

SECONDS_BETWEEN_TRIES = 2.0


def share(parts: Sequence[Part]) -> None:
    """Does what no other process is at, until all is done."""
    waiting = list(parts)
    while waiting := [part for part in waiting if not part()]:
        time.sleep(SECONDS_BETWEEN_TRIES)


def share_on_cluster(parts: Sequence[Part], runner: Runner, address: str | None) -> None:
    """Has the devices of a Ray cluster do the parts, each one at a time.

    Raises:
        ConfigError: If there is no cluster, or its machines do not share the runner's folder.
        DataError: If parts failed; the others are done.
    """
    waiting, failed = list(range(len(parts))), []
    with connected(address) as ray, shared_folder(runner.folder) as shared:
        while waiting:
            fleet: Fleet[int, bool] = Fleet(
                ray, PartWorker, (parts, runner, shared), accelerator=runner.accelerator, in_flight=1
            )
            again = []
            for number, done in enumerate(fleet.run(waiting), 1):
                if done.error is not None:
                    failed.append(done.fault)
                elif not done.value:  # another one is at its training
                    again.append(done.task)
                print_line(f"{number - len(again)} of {len(waiting)} parts are done")
            if len(again) == len(waiting):
                time.sleep(SECONDS_BETWEEN_TRIES)
            waiting = again
    if failed:
        raise DataError(f"{len(failed)} of {len(parts)} parts failed: {'; '.join(failed)}")


class PartWorker:
    """Trains and measures on a device of a cluster, see :class:`mnad.cluster.fleet.Worker`."""

    def __init__(self, parts: Sequence[Part], runner: Runner, shared: SharedFolder) -> None:
        self.parts, self.runner, self.shared = parts, runner, shared

    def about(self) -> About:
        """Makes sure that the folder of all runs is seen here."""
        self.shared.check()
        return about_here(self.runner.device())

    def run(self, number: int) -> bool:
        """Does a part; returns whether it is done."""
        return self.parts[number]()
