"""``mnad prepare``: a clip store, made by this machine or by a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from mnad.cluster.connection import connected
from mnad.cluster.fleet import About, Fleet, about_here
from mnad.cluster.shared_folder import SharedFolder, shared_folder
from mnad.data.looks import Look, look_at
from mnad.data.parts import ColourFound, Part, PartJob, PartMaker
from mnad.data.preparation import PrepareConfig, prepare
from mnad.data.splits import Video
from mnad.data.store import Store
from mnad.runtime.errors import DataError
from mnad.runtime.files import output_errors
from mnad.runtime.places import absolute


def prepare_by(config: PrepareConfig) -> Store:
    """Makes a clip store by the engine of the options, see :func:`mnad.data.preparation.prepare`.

    On a cluster the videos are decoded by all its machines, into a folder that these share. One that cannot be read
    does not keep the others from being decoded; it is named in the end, and there is no store until it is mended.

    Raises:
        MnadError: As :func:`mnad.data.preparation.prepare`, or if the cluster cannot be used.
    """
    if config.engine == "local":
        return prepare(config)
    config = replace(config, data=absolute(config.data), out=config.store.absolute())
    return prepare(config, makers=Machines(config))


@dataclass(frozen=True)
class Machines:
    """Looks at videos and decodes them on the machines of a Ray cluster, see :class:`mnad.data.parts.Makers`."""

    config: PrepareConfig
    apart = True

    def look(self, videos: Sequence[Video], *, grey: bool) -> list[Look]:
        """See :meth:`mnad.data.parts.Makers.look`."""
        with self._fleet(None) as fleet:
            found = {done.task: done.value for done in fleet.run([LookTask(video, grey) for video in videos])}
        return [look for look in found.values() if look is not None]

    def make(
        self, maker: PartMaker, jobs: Sequence[PartJob], advance: Callable[[int], None]
    ) -> Generator[tuple[str, ...], None, None]:
        """See :meth:`mnad.data.parts.Makers.make`."""
        failed: dict[str, str] = {}
        with self._fleet(maker) as fleet:
            for done in fleet.run(jobs):
                if isinstance(done.error, ColourFound):
                    raise done.error
                if done.value is None:
                    failed[done.task.video.name] = done.fault
                else:
                    advance(done.value.video.frames)
                    yield done.value.warnings
        if failed:
            words = "; ".join(f"{name}: {fault}" for name, fault in sorted(failed.items()))
            raise DataError(
                f"{len(failed)} videos cannot be read, and the others are kept for the same command: {words}"
            )

    @contextmanager
    def _fleet(self, maker: PartMaker | None) -> Iterator[Fleet[Any, Any]]:
        with connected(self.config.address) as ray, shared_folder(self.config.store.parent) as shared:
            yield Fleet(ray, Decoder, (maker, shared), accelerator="cpu", in_flight=None)


@dataclass(frozen=True, eq=False)
class LookTask:
    """A video that is to be looked at, and whether it is grey."""

    video: Video
    grey: bool


class Decoder:
    """Looks at videos and decodes them on a machine of a cluster, see :class:`mnad.cluster.fleet.Worker`."""

    def __init__(self, maker: PartMaker | None, shared: SharedFolder) -> None:
        self.maker, self.shared = maker, shared

    def about(self) -> About:
        """Makes sure that the store's place is seen here."""
        self.shared.check()
        return about_here(torch.device("cpu"))

    def run(self, task: LookTask | PartJob) -> Look | Part:
        """Looks at a video, or decodes it to its place.

        Raises:
            DataError: If it cannot be read.
            OutputError: If there is no room for it.
        """
        if isinstance(task, LookTask):
            return look_at(task.video, grey=task.grey)
        assert self.maker is not None
        with output_errors(task.places.record):
            return self.maker.make(task.video, task.places, lambda: None)
