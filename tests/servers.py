"""Servers of data on the loopback address: moto's S3, and Python's own web server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

SECONDS_TO_START = 60


@dataclass(frozen=True)
class S3:
    """An S3 server in a process of its own.

    Attributes:
        environment: By which boto and s3fs find it, with credentials that it takes.
        log: Its log, a line for each request.
    """

    environment: dict[str, str]
    log: Path

    @property
    def client(self) -> Any:
        import boto3  # of the few tests that ask for it

        names = {"AWS_ENDPOINT_URL": "endpoint_url", "AWS_DEFAULT_REGION": "region_name"}
        names |= {"AWS_ACCESS_KEY_ID": "aws_access_key_id", "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key"}
        return boto3.client("s3", **{to: self.environment[name] for name, to in names.items()})

    def requests(self, words: str = "HTTP/1.1") -> list[str]:
        """Returns the requests so far that have some words in them."""
        return [line for line in self.log.read_text().splitlines() if '"' in line and words in line]


@dataclass(frozen=True)
class Bucket:
    """A bucket of a server, for one test."""

    server: S3
    name: str

    @property
    def address(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, content: bytes) -> None:
        self.server.client.put_object(Bucket=self.name, Key=key, Body=content)

    def put_folder(self, folder: Path, prefix: str = "") -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}{path.relative_to(folder).as_posix()}", path.read_bytes())

    def get(self, key: str) -> bytes:
        content: bytes = self.server.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def keys(self) -> list[str]:
        return [found["Key"] for found in self.server.client.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def downloads(self, key: str = "") -> int:
        """Counts how often what begins with a key was read."""
        return len(self.server.requests(f"GET /{self.name}/{key}"))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "whatever",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    log = tmp_path_factory.mktemp("s3") / "log"
    program = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=file, stderr=file)
    try:
        _wait_for(port, process)
        yield S3(environment, log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(s3_server: S3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bucket:
    """An empty bucket, which this process reaches."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(s3_server, f"bucket-{abs(hash(request.node.nodeid))}")
    s3_server.client.create_bucket(Bucket=bucket.name)
    return bucket


@dataclass
class Web:
    """A web server of a folder.

    Attributes:
        root: The folder.
        address: Its address.
        cut: How many downloads of videos break off in the middle, from now on; half of them look as if they were whole.
        requests: What was asked for.
    """

    root: Path
    address: str = ""
    cut: int = 0
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    served = Web(tmp_path / "web")
    served.root.mkdir()
    with _web_server(served) as served.address:
        yield served


@contextmanager
def _web_server(served: Web) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def copyfile(self, source: Any, outputfile: Any) -> None:
            if not self.cut:
                super().copyfile(source, outputfile)
                return
            outputfile.write(source.read(1000))
            self.close_connection = True

        def do_GET(self) -> None:
            self.cut = served.cut > 0 and self.path.endswith((".avi", ".mp4"))
            served.cut -= self.cut
            super().do_GET()

        def send_header(self, keyword: str, value: str) -> None:
            if not (keyword == "Content-Length" and served.cut % 2 and self.command == "GET"):
                super().send_header(keyword, value)

        def log_message(self, format: str, *arguments: Any) -> None:
            served.requests.append(str(arguments[0]))

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=os.fspath(served.root))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < ends:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the S3 server does not start")
