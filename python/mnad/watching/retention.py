"""How long events are kept, and what a process that was killed has left of their clips."""

from __future__ import annotations

from pathlib import Path

from mnad.watching.history import History, WatchedEvent
from mnad.watching.recorder import partial_of
from mnad.watching.settings import ClipOptions

A_DAY, A_GIGABYTE = 86400.0, 1e9


def remove_old(history: History, folder: Path, options: ClipOptions, now: float) -> None:
    """Removes events that are older than so many days, and the oldest while their files take more than is allowed.

    Args:
        history: Where they stand.
        folder: Of their files.
        options: How long they are kept.
        now: In seconds since 1970.
    """
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    total = sum(sizes.values())
    for event in history.oldest():
        too_old = event.ended < now - options.keep_days * A_DAY
        if not too_old and total <= options.keep_gigabytes * A_GIGABYTE:
            continue
        total -= sum(sizes.get(name, 0) for name in _files_of(event))
        for name in _files_of(event):
            (folder / name).unlink(missing_ok=True)
        history.delete(event.id)
    history.forget_told(now - options.keep_days * A_DAY)


def adopt_partial_clips(history: History, folder: Path) -> None:
    """Makes clips of what a process that was killed has left of them."""
    for path in folder.glob(".*.partial.mp4"):
        event = history.event(path.name.removeprefix(".").removesuffix(".partial.mp4"))
        if event is None or path.stat().st_size == 0:
            path.unlink()
            continue
        whole = folder / f"{event.id}.mp4"
        assert path == partial_of(whole)
        path.replace(whole)
        with history.at_once():
            history.put_file(event.id, "clip", whole.name)


def _files_of(event: WatchedEvent) -> list[str]:
    return [name for name in (event.clip, event.picture) if name is not None]
