"""What a watching process has found: events, the health of its cameras, and what others are still to be told.

All of it stands in one SQLite file beside the folder of clips and pictures. What belongs together is written at once,
so that a process that is killed leaves nothing half told.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mnad.runtime.errors import DataError, OutputError

FORMAT = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, stream TEXT NOT NULL, session TEXT NOT NULL,
    state TEXT NOT NULL, began REAL NOT NULL, duration REAL NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    peak REAL NOT NULL, score REAL NOT NULL, threshold REAL NOT NULL, zone TEXT NOT NULL, clip TEXT, picture TEXT,
    note TEXT NOT NULL, found REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (
    stream TEXT NOT NULL, source TEXT NOT NULL, began REAL NOT NULL, PRIMARY KEY (stream, source)
);
CREATE TABLE IF NOT EXISTS health (
    number INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, condition TEXT NOT NULL, began REAL NOT NULL,
    ended REAL, note TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS thresholds (
    number INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, threshold REAL NOT NULL, at REAL NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS notices (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL, content TEXT NOT NULL, made REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
    notice INTEGER NOT NULL REFERENCES notices (number), sink TEXT NOT NULL, PRIMARY KEY (notice, sink)
);
CREATE INDEX IF NOT EXISTS events_by_state ON events (state);
"""

EventState = Literal["open", "closed", "held back"]
EventKind = Literal["began", "ended"]


@dataclass(frozen=True)
class WatchedEvent:
    """An event of a stream.

    Attributes:
        id: Tells it from all others, and is the same where a file is watched again from where a process was killed.
        stream: Its name.
        session: What was watched: a file, or a live source since it was started.
        state: Whether it goes on; held back, if the camera was found unwell right after it had begun.
        began: When its first frame was taken, in seconds since 1970.
        duration: Seconds from its first frame to its last one.
        first: Its first frame, counted from 0 in the session.
        last: Its last frame.
        peak: When the frame of its highest score was taken.
        score: That score.
        threshold: That its frames are above.
        zone: The zone of the highest score; nothing if it lies in none that has a name.
        clip: The file of its video, in the folder of events; None while there is none.
        picture: The same of its picture.
        note: What else is to be known of it.
        found: When it was found, in seconds since 1970: long after it began, in a recording.
    """

    id: str
    stream: str
    session: str
    state: EventState
    began: float
    duration: float
    first: int
    last: int
    peak: float
    score: float
    threshold: float
    zone: str = ""
    clip: str | None = None
    picture: str | None = None
    note: str = ""
    found: float = field(default_factory=time.time)

    @property
    def ended(self) -> float:
        """When its last frame was taken, in seconds since 1970."""
        return self.began + self.duration


@dataclass(frozen=True)
class Notice:
    """Something that others are to be told.

    Attributes:
        number: In the order in which they were found.
        key: Tells it from all others, and is the same where something is found again after a process was killed.
        content: What is told, as plain values.
    """

    number: int
    key: str
    content: dict[str, Any]


class History:
    """The SQLite file; one for each thread that uses it.

    Args:
        path: The file; it is made if it is not there.
        read_only: Whether nothing is written, not even to make it.

    Raises:
        OutputError: If it cannot be written.
        DataError: If it is no such file, or of another version.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        place = f"{path.absolute().as_uri()}?mode=ro" if read_only else str(path)
        try:
            self._database = sqlite3.connect(
                place, timeout=30, isolation_level=None, check_same_thread=False, uri=read_only
            )
            self._database.row_factory = sqlite3.Row
            self._prepare(read_only=read_only)
        except sqlite3.OperationalError as error:
            raise OutputError(f"cannot write {path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{path} is no history of mnad watch, or it is damaged: {error}") from error

    def _prepare(self, *, read_only: bool) -> None:
        found = self._database.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            raise DataError(f"{self.path} was written by another version of mnad (format {found}, not {FORMAT})")
        if read_only:
            return
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")  # the state on disk is never ahead of it
        if found == 0:
            self._database.executescript(f"{SCHEMA} PRAGMA user_version = {FORMAT};")

    def __enter__(self) -> History:
        """Closes the file at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Writes all that is written within the block, or nothing of it.

        Raises:
            OutputError: If it cannot be written, as on a full disk.
        """
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise OutputError(f"cannot write {self.path}: {error}") from error

    def session_began(self, stream: str, source: str, now: float) -> float:
        """Returns when a source was watched for the first time, which is now if it was never before.

        Raises:
            OutputError: If it cannot be written.
        """
        with self.at_once():
            self._database.execute("INSERT OR IGNORE INTO sessions VALUES (?, ?, ?)", (stream, source, now))
        query = "SELECT began FROM sessions WHERE stream = ? AND source = ?"
        return float(self._database.execute(query, (stream, source)).fetchone()[0])

    def knows(self, stream: str, address: str) -> bool:
        """Returns whether a stream has watched a file or a folder before."""
        query = "SELECT 1 FROM sessions WHERE stream = ? AND (source = ? OR instr(source, ?))"
        found = self._database.execute(query, (stream, address, f" {address} of "))
        return found.fetchone() is not None

    def put_event(self, event: WatchedEvent, told: EventKind | None = None, sinks: Sequence[str] = ()) -> None:
        """Writes an event in place of what is known of it. Clip and picture stay where the event names none.

        Args:
            event: As it is known now.
            told: What the sinks are told, each once.
            sinks: Their names.
        """
        values = asdict(event)
        kept = {
            "clip": "coalesce(excluded.clip, clip)",
            "picture": "coalesce(excluded.picture, picture)",
            "found": "found",
        }
        changes = ", ".join(f"{name} = {kept.get(name, f'excluded.{name}')}" for name in values if name != "id")
        self._database.execute(
            f"INSERT INTO events ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)}) "
            f"ON CONFLICT (id) DO UPDATE SET {changes}",
            values,
        )
        if told is not None:
            self._tell(f"{event.id} {told}", {"kind": told, **as_content(event)}, sinks)

    def put_file(self, event_id: str, column: Literal["clip", "picture"], name: str) -> None:
        """Writes which file an event's clip or picture is."""
        self._database.execute(f"UPDATE events SET {column} = ? WHERE id = ?", (name, event_id))

    def put_health(
        self, stream: str, condition: str | None, now: float, note: str, sinks: Sequence[str], at: float = 0.0
    ) -> None:
        """Ends what a camera was unwell with, and begins what it is unwell with now.

        Args:
            stream: Its name.
            condition: What is wrong; None if it is well again.
            now: In seconds since 1970.
            note: What else is to be known.
            sinks: Who is told.
            at: In seconds of the source, which tells apart what files written at one time have shown.
        """
        self._database.execute("UPDATE health SET ended = ? WHERE stream = ? AND ended IS NULL", (now, stream))
        if condition is not None:
            self._database.execute(
                "INSERT INTO health (stream, condition, began, note) VALUES (?, ?, ?, ?)",
                (stream, condition, now, note),
            )
        content = {"kind": "health", "stream": stream, "condition": condition or "well", "at": now, "note": note}
        self._tell(f"{stream} health {now:.6f} {at:.6f} {condition}", content, sinks)

    def put_threshold(self, stream: str, threshold: float, now: float, reason: str) -> None:
        """Writes that a stream has another threshold from now on, and why."""
        insert = "INSERT INTO thresholds (stream, threshold, at, reason) VALUES (?, ?, ?, ?)"
        self._database.execute(insert, (stream, threshold, now, reason))

    def thresholds(self, stream: str) -> list[tuple[float, float, str]]:
        """Returns the thresholds that a stream has had: each, since when, and why."""
        query = "SELECT threshold, at, reason FROM thresholds WHERE stream = ? ORDER BY number"
        return [tuple(row) for row in self._database.execute(query, (stream,))]

    def _tell(self, key: str, content: dict[str, Any], sinks: Sequence[str]) -> None:
        stored = json.dumps(content)
        insert = "INSERT OR IGNORE INTO notices (key, content, made) VALUES (?, ?, ?)"
        found = self._database.execute(insert, (key, stored, time.time()))
        if found.rowcount:
            rows = [(found.lastrowid, sink) for sink in sinks]
            self._database.executemany("INSERT INTO deliveries (notice, sink) VALUES (?, ?)", rows)

    def open_events(self) -> list[WatchedEvent]:
        """Returns the events that have not ended, in order."""
        query = "SELECT * FROM events WHERE state = 'open' ORDER BY number"
        return [_event(row) for row in self._database.execute(query)]

    def events(self, limit: int = 100, before: int | None = None, stream: str | None = None) -> list[dict[str, Any]]:
        """Returns the newest events as plain values, the newest first.

        Args:
            limit: How many at most.
            before: The number of an event; only older ones are returned.
            stream: Only events of this stream.
        """
        query = (
            "SELECT * FROM events WHERE (:before IS NULL OR number < :before) "
            "AND (:stream IS NULL OR stream = :stream) ORDER BY number DESC LIMIT :limit"
        )
        rows = self._database.execute(query, {"limit": limit, "before": before, "stream": stream})
        return [{"number": row["number"], **as_content(_event(row))} for row in rows]

    def event(self, event_id: str) -> WatchedEvent | None:
        """Returns an event; None if there is none of this id."""
        row = self._database.execute("SELECT * FROM events WHERE id = ?", (event_id,)).fetchone()
        return None if row is None else _event(row)

    def forget(self, events: Sequence[WatchedEvent], before: float) -> None:
        """Forgets events, and what was told, and cameras were unwell with, before a time in seconds since 1970."""
        self._database.executemany("DELETE FROM events WHERE id = ?", [(event.id,) for event in events])
        told = "DELETE FROM notices WHERE made < ? AND number NOT IN (SELECT notice FROM deliveries)"
        self._database.execute(told, (before,))
        self._database.execute("DELETE FROM health WHERE ended < ?", (before,))

    def oldest(self) -> Iterator[WatchedEvent]:
        """Yields the events that have ended, the oldest first."""
        query = "SELECT * FROM events WHERE state != 'open' ORDER BY number"
        return (_event(row) for row in self._database.execute(query).fetchall())

    def next_notice(self, sink: str) -> Notice | None:
        """Returns the oldest notice that a sink has not been told; None if it was told all."""
        query = (
            "SELECT number, key, content FROM deliveries JOIN notices ON notice = number WHERE sink = ? "
            "ORDER BY number LIMIT 1"
        )
        row = self._database.execute(query, (sink,)).fetchone()
        return None if row is None else Notice(row["number"], row["key"], json.loads(row["content"]))

    def waiting(self, sink: str) -> int:
        """Returns how many notices a sink has not been told."""
        return int(self._database.execute("SELECT count(*) FROM deliveries WHERE sink = ?", (sink,)).fetchone()[0])

    def told(self, notice: Notice, sink: str) -> None:
        """Writes that a sink was told.

        Raises:
            OutputError: If it cannot be written.
        """
        with self.at_once():
            self._database.execute("DELETE FROM deliveries WHERE notice = ? AND sink = ?", (notice.number, sink))

    def forget_sinks(self, known: Sequence[str]) -> dict[str, int]:
        """Forgets what sinks that there are no more were not told, and returns how much that was of each."""
        rows = self._database.execute("SELECT sink, count(*) FROM deliveries GROUP BY sink").fetchall()
        gone = {row[0]: row[1] for row in rows if row[0] not in known}
        with self.at_once():
            self._database.executemany("DELETE FROM deliveries WHERE sink = ?", [(sink,) for sink in gone])
        return gone


def as_content(event: WatchedEvent) -> dict[str, Any]:
    """Returns an event as others are told of it: times also as people write them."""
    values = {name: value for name, value in asdict(event).items() if name not in ("session", "found")}
    times = {f"{name}_at": as_text(getattr(event, name)) for name in ("began", "ended", "peak")}
    return {**values, "ended": event.ended, **times}


def as_text(seconds: float) -> str:
    """Returns a wall-clock time as ISO 8601 with the local offset from UTC."""
    local = time.localtime(seconds)
    offset = time.strftime("%z", local)
    milliseconds = int(seconds * 1000) % 1000
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{milliseconds:03d}{offset[:3]}:{offset[3:]}"


def closed(event: WatchedEvent, note: str) -> WatchedEvent:
    """Returns an event that has ended, and why."""
    return replace(event, state="closed", note=note)


def _event(row: sqlite3.Row) -> WatchedEvent:
    return WatchedEvent(**{name: row[name] for name in WatchedEvent.__dataclass_fields__})
