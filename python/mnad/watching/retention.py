"""How long events are kept, and what a process that was killed has left of their clips."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mnad.watching.history import WatchedEvent
from mnad.watching.ledger import Ledger
from mnad.watching.recorder import partial_of
from mnad.watching.settings import ClipOptions

A_DAY, A_GIGABYTE = 86400.0, 1e9


def remove_old(ledger: Ledger, folder: Path, options: ClipOptions, now: float) -> None:
    """Removes events that were found more than so many days ago, and the oldest while their files take too much.

    Files go first: on a full disk nothing else can be written before they do.

    Args:
        ledger: Where they stand.
        folder: Of their files.
        options: How long they are kept.
        now: In seconds since 1970.
    """
    sizes = _sizes(folder)
    total, expired = sum(sizes.values()), list[WatchedEvent]()
    for event in ledger.read(lambda history: list(history.oldest())):
        too_old = event.found < now - options.keep_days * A_DAY
        if not too_old and total <= options.keep_gigabytes * A_GIGABYTE:
            continue
        for name in _files_of(event):
            total -= sizes.get(name, 0)
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        expired.append(event)
    if not ledger.waiting:  # else it is done the next time, and does not add to what waits
        ledger.write(lambda history: history.forget(expired, now - options.keep_days * A_DAY))


def adopt_partial_clips(ledger: Ledger, folder: Path) -> None:
    """Makes clips of what a process that was killed has left of them."""
    for path in folder.glob(".*.partial.mp4"):
        event_id = path.name.removeprefix(".").removesuffix(".partial.mp4")
        event = ledger.read(lambda history, event_id=event_id: history.event(event_id))  # type: ignore[misc]
        if event is None or path.stat().st_size == 0:
            path.unlink()
            continue
        whole = folder / f"{event.id}.mp4"
        assert path == partial_of(whole)
        path.replace(whole)
        ledger.write(lambda history, event=event, whole=whole: history.put_file(event.id, "clip", whole.name))  # type: ignore[misc]


def _sizes(folder: Path) -> dict[str, int]:
    """Returns the sizes of the files in a folder; those that go meanwhile are left out."""
    found = {}
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                found[path.name] = path.stat().st_size
    return found


def _files_of(event: WatchedEvent) -> list[str]:
    return [name for name in (event.clip, event.picture) if name is not None]
