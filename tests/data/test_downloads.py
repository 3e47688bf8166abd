"""Local copies of files at addresses: whole, of one version, downloaded once, within a bound."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from mnad.data import downloads
from mnad.data.downloads import is_here, local_copy
from mnad.data.folders import videos_in
from mnad.runtime.errors import ConfigError, DataError, OutputError
from mnad.runtime.places import forget_listings, place, version_of

from tests.servers import Bucket, Web

SIZE = 10_000


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where downloads are kept: a cache of its own for each test."""
    monkeypatch.setenv("MNAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setattr(downloads, "WAIT", 0.01)
    return tmp_path / "cache" / "downloads"


def content(name: str) -> bytes:
    return name.encode() * (SIZE // len(name))


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".part")


def test_the_bound_holds_and_what_is_read_stays(bucket: Bucket, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNAD_DOWNLOADS_GB", str(3.5 * SIZE / 1e9))
    for name in "abcdefgh":
        bucket.put(f"{name}.mp4", content(name))
    with local_copy(place(f"{bucket.address}/a.mp4")) as held:
        for name in "bcdefgfh":
            with local_copy(place(f"{bucket.address}/{name}.mp4")) as file:
                assert file.read_bytes() == content(name)
                assert taken(folder) <= 3.5 * SIZE
        assert held.read_bytes() == content("a")
    assert sorted(path.name[-5:] for path in folder.glob("*.mp4")) == ["a.mp4", "f.mp4", "h.mp4"]  # the last used
    with local_copy(place(f"{bucket.address}/a.mp4")):
        assert bucket.downloads("a.mp4") == 1


def test_who_reads_nothing_waits_for_room(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNAD_DOWNLOADS_GB", str(1.5 * SIZE / 1e9))
    for name in "ab":
        bucket.put(f"{name}.mp4", content(name))
    told = Event()
    monkeypatch.setattr(downloads, "print_beside", lambda text: told.set() if "waits until others" in text else None)

    def read(name: str) -> bytes:
        with local_copy(place(f"{bucket.address}/{name}.mp4")) as file:
            return file.read_bytes()

    with ThreadPoolExecutor(1) as thread:
        with local_copy(place(f"{bucket.address}/a.mp4")):
            waiting = thread.submit(read, "b")
            assert told.wait(60)
            assert not waiting.done()
            with pytest.raises(ConfigError, match=r"leave no room for .*b\.mp4: set MNAD_DOWNLOADS_GB"):
                read("b")  # two that read and wait would wait for each other
        assert waiting.result() == content("b")


def test_a_file_larger_than_all_may_be_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("a.mp4", content("a"))
    monkeypatch.setenv("MNAD_DOWNLOADS_GB", str(0.5 * SIZE / 1e9))
    with pytest.raises(ConfigError, match=r"a\.mp4 has .* GB, .*set MNAD_DOWNLOADS_GB"):
        local_copy(place(f"{bucket.address}/a.mp4")).__enter__()
    for wrong in ("0", "-1", "much", "inf", "nan"):
        monkeypatch.setenv("MNAD_DOWNLOADS_GB", wrong)
        with pytest.raises(ConfigError, match="must be a number of gigabytes above 0"):
            local_copy(place(f"{bucket.address}/a.mp4")).__enter__()


PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from mnad.data.downloads import local_copy
from mnad.runtime.places import place
def read(_):
    with local_copy(place(sys.argv[1])) as file:
        return len(file.read_bytes())
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(4) as threads:
    print(set(threads.map(read, range(4))), flush=True)
"""


def test_processes_and_threads_that_want_it_at_once_download_once(bucket: Bucket) -> None:
    bucket.put("a.mp4", content("a"))
    command = [sys.executable, "-c", PROGRAM, f"{bucket.address}/a.mp4"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    both = [subprocess.Popen(command, text=True, env=os.environ, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    assert [process.communicate("go\n", timeout=60)[0] for process in both] == [f"{{{SIZE}}}\n"] * 2
    assert bucket.downloads("a.mp4") == 1


def test_what_a_killed_process_has_left_is_removed(
    bucket: Bucket, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNAD_DOWNLOADS_GB", str(1.5 * SIZE / 1e9))
    bucket.put("a.mp4", content("a"))
    folder.mkdir(parents=True)
    (folder / "0-gone.mp4.part").write_bytes(b"half")
    with (folder / "0-gone.mp4.room").open("wb") as room:
        room.truncate(SIZE)
    with local_copy(place(f"{bucket.address}/a.mp4")) as file:
        assert [path.name for path in folder.iterdir()] == [file.name]


def test_what_breaks_off_is_tried_again(web: Web) -> None:
    (web.root / "a.mp4").write_bytes(content("a"))
    address = place(f"{web.address}/a.mp4")
    web.cut = 3
    with local_copy(address) as file:
        assert file.read_bytes() == content("a")
    assert web.cut == 0


def test_what_always_breaks_off_is_an_error(web: Web, folder: Path) -> None:
    (web.root / "a.mp4").write_bytes(content("a"))
    web.cut = 100
    with pytest.raises(DataError, match=f"cannot download {web.address}/a.mp4: "):
        local_copy(place(f"{web.address}/a.mp4")).__enter__()
    assert web.cut == 96
    assert not list(folder.iterdir())


@pytest.mark.parametrize("size", [SIZE, SIZE + 1])
def test_what_has_changed_since_it_was_listed_is_an_error(bucket: Bucket, folder: Path, size: int) -> None:
    bucket.put("a.mp4", content("a"))
    [video] = videos_in(place(bucket.address))
    listed = version_of(video)
    bucket.put("a.mp4", b"b" * size)
    with pytest.raises(DataError, match=r"a\.mp4 has changed on its server since it was listed"):
        local_copy(video, listed).__enter__()
    assert not list(folder.iterdir())
    forget_listings(video)
    with local_copy(video) as file:
        assert file.read_bytes() == b"b" * size


def test_what_has_gone_is_an_error(bucket: Bucket) -> None:
    bucket.put("a.mp4", content("a"))
    [video] = videos_in(place(bucket.address))
    listed = version_of(video)
    bucket.server.client.delete_object(Bucket=bucket.name, Key="a.mp4")
    with pytest.raises(DataError, match=r"cannot download .*a\.mp4: "):
        local_copy(video, listed).__enter__()
    assert not is_here(video, listed)


def test_a_full_disk_is_named(bucket: Bucket, folder: Path) -> None:
    bucket.put("a.mp4", content("a") * 100)
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        with pytest.raises(OutputError, match=r"no space for .*a\.mp4.*MNAD_CACHE to a folder on a larger disk"):
            local_copy(place(f"{bucket.address}/a.mp4")).__enter__()
        assert not list(folder.iterdir())
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_server_that_does_not_tell_versions_apart_is_refused(web: Web) -> None:
    (web.root / "folder").mkdir()
    with pytest.raises(DataError, match="does not say how large the file is and when it changed"):
        version_of(place(f"{web.address}/folder"))  # a page that is made when it is asked for
