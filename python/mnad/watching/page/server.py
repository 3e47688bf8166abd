"""The HTTP server of the page, of the same as REST, and of the metrics."""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from jsonargparse import ArgumentParser
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from mnad.runtime.errors import ConfigError, MnadError
from mnad.watching.control import Control, StreamChange
from mnad.watching.history import History
from mnad.watching.page.metrics import metrics_text
from mnad.watching.settings import PageAddress, StreamOptions, is_loopback
from mnad.watching.watcher import DATABASE, Watcher

T = TypeVar("T")
COOKIE = "mnad_token"
BOUNDARY = "frame"
LIVE_EVERY = 0.1
MOST_EVENTS, MOST_DIGITS = 500, 18
ASK_AGAIN = {"Cache-Control": "no-cache"}
FILE_TYPES = {".mp4": "video/mp4", ".jpg": "image/jpeg"}


class Page:
    """Serves the page in a thread of its own.

    Args:
        address: Where.
        watcher: Whose streams are shown.

    Raises:
        ConfigError: If the port is in use.
    """

    def __init__(self, address: PageAddress, watcher: Watcher) -> None:
        self.address = address
        self._socket = _listen(address)
        config = uvicorn.Config(make_app(watcher, address.token), log_level="warning", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="page", daemon=True)

    @property
    def url(self) -> str:
        """What to open in a browser."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the server, streams of pictures that go on among it."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()


class Routes:
    """What the server answers.

    Args:
        watcher: Whose streams are shown.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.watcher, self.control = watcher, Control(watcher)

    async def _within_loop(self, function: Callable[[], T]) -> T:
        """Calls a function of the control within the watching loop."""
        try:
            return await asyncio.wrap_future(self.watcher.call(function))
        except KeyError as error:
            raise HTTPException(404, f"there is no stream {error.args[0]}") from None

    async def streams(self, request: Request) -> Response:
        """GET: all streams. POST: adds one, of the options that a configuration file has, and its name."""
        if request.method == "GET":
            return JSONResponse({"streams": await self._within_loop(self.control.streams)})
        values = await _json(request)
        name = values.pop("name", None)
        if not isinstance(name, str):
            raise HTTPException(422, "name must be the name of the stream")
        settings = self.watcher.config.settings_of(name, _parsed(StreamOptions, values))
        model = await run_in_threadpool(self.watcher.load, settings.run)
        return JSONResponse(await self._within_loop(lambda: self.control.add(settings, model)), 201)

    async def stream(self, request: Request) -> Response:
        """PATCH: changes a stream. DELETE: ends it."""
        name = request.path_params["name"]
        if request.method == "DELETE":
            await self._within_loop(lambda: self.control.remove(name))
            return Response(status_code=204)
        change = _parsed(StreamChange, await _json(request))
        return JSONResponse(await self._within_loop(lambda: self.control.change(name, change)))

    async def picture(self, request: Request) -> Response:
        """GET: the last picture of a stream as JPEG, ``?heat=1`` with the heatmap."""
        picture = await self._picture(request)
        if picture is None:
            raise HTTPException(404, "there is no picture yet")
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    async def live(self, request: Request) -> Response:
        """GET: the pictures of a stream as they come, as MJPEG."""
        await self._picture(request)  # 404 before the stream begins
        return StreamingResponse(self._pictures(request), media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}")

    async def _pictures(self, request: Request) -> AsyncIterator[bytes]:
        last = None
        while not await request.is_disconnected():
            picture = await self._picture(request)
            if picture is not None and picture != last:
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                yield head.encode() + picture + b"\r\n"
                last = picture
            await asyncio.sleep(LIVE_EVERY)

    async def _picture(self, request: Request) -> bytes | None:
        name, heat = request.path_params["name"], request.query_params.get("heat") == "1"
        return await run_in_threadpool(await self._within_loop(lambda: self.control.picture(name, heat=heat)))

    async def events(self, request: Request) -> Response:
        """GET: the newest events; ``?limit=100``, ``?before=NUMBER`` for older ones, ``?stream=NAME``."""
        query = request.query_params
        limit, before = _number(query.get("limit", "100")), _number(query.get("before"))
        found = await run_in_threadpool(self._events, min(limit or 0, MOST_EVENTS), before, query.get("stream"))
        return JSONResponse({"events": found})

    def _events(self, limit: int, before: int | None, stream: str | None) -> list[dict[str, Any]]:
        with History(self.watcher.folder / DATABASE, read_only=True) as history:
            return history.events(limit, before, stream)

    async def file(self, request: Request) -> Response:
        """GET: the clip or the picture of an event."""
        path = self.watcher.clips / Path(request.path_params["file"]).name
        is_file = os.path.isfile(path)  # noqa: PTH113 (Path.is_file fails for a name that is too long)
        if path.suffix not in FILE_TYPES or path.name.startswith(".") or not is_file:
            raise HTTPException(404, "there is no such file; events are removed in time")
        return FileResponse(path, media_type=FILE_TYPES[path.suffix])

    async def metrics(self, _: Request) -> Response:
        """GET: the metrics for Prometheus."""
        streams = await self._within_loop(self.control.streams)
        waiting = {outbox.name: bool(outbox.fault) for outbox in self.watcher.outboxes}
        return Response(metrics_text(streams, waiting), media_type=CONTENT_TYPE_LATEST)

    async def index(self, _: Request) -> Response:
        """GET: the page."""
        return FileResponse(_static() / "index.html", headers=ASK_AGAIN)


class _Asked(StaticFiles):
    """Files that browsers ask for again each time: after an upgrade they are others."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """Returns a file, or that it is still the same."""
        response = super().file_response(*arguments, **options)
        response.headers.update(ASK_AGAIN)
        return response


class Guard:
    """Lets in who has the token: as a bearer, in a cookie, or once as ``?token=``, which sets the cookie.

    Requests that another site's page sends on a visitor's behalf are refused, with a token and without, and so is a
    name of another site that leads to this machine.

    Args:
        app: What is guarded.
        token: The token; None if none is wanted.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        response: ASGIApp = self.app
        if _from_another_site(request) or (self.token is None and not is_loopback(request.url.hostname or "")):
            response = JSONResponse({"error": "requests from other sites are refused"}, 403)
        elif self.token is not None and not self._is_known(request):
            response = self._introduce(request, self.token)
        await response(scope, receive, send)

    def _introduce(self, request: Request, token: str) -> Response:
        given = request.query_params.get("token")
        if given is None or not hmac.compare_digest(given.encode(), token.encode()):
            return JSONResponse({"error": "a token is needed: open the page with ?token=TOKEN"}, 401)
        answer = RedirectResponse(request.url.path, 303)
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return answer

    def _is_known(self, request: Request) -> bool:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        known = (self.token or "").encode()
        return any(hmac.compare_digest(each.encode(), known) for each in (bearer, request.cookies.get(COOKIE, "")))


def make_app(watcher: Watcher, token: str | None) -> Starlette:
    """Returns the application."""
    routes = Routes(watcher)
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        MnadError: partial(_refused, 422),
        HTTPException: _http_error,
    }
    return Starlette(
        routes=[
            Route("/", routes.index),
            Route("/api/streams", routes.streams, methods=["GET", "POST"]),
            Route("/api/streams/{name}", routes.stream, methods=["PATCH", "DELETE"]),
            Route("/api/streams/{name}/picture.jpg", routes.picture),
            Route("/api/streams/{name}/live.mjpg", routes.live),
            Route("/api/events", routes.events),
            Route("/api/events/{file}", routes.file),
            Route("/metrics", routes.metrics),
            Mount("/static", _Asked(directory=_static())),
            Mount("/vendor", StaticFiles(packages=[("mnad.report", "vendor")])),
        ],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers=handlers,
    )


def _listen(address: PageAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"the page cannot listen on {address.host}:{address.port}: {error.strerror}; give another --page"
        ) from None
    return listening


def _static() -> Path:
    return Path(str(files("mnad.watching.page") / "static"))


def _from_another_site(request: Request) -> bool:
    if request.method in ("GET", "HEAD"):
        return False
    origin = request.headers.get("origin")
    return origin is not None and origin.split("://")[-1] != request.headers.get("host")


async def _json(request: Request) -> dict[str, Any]:
    try:
        values = await request.json()
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise HTTPException(422, "the body must be a JSON object")
    return values


def _parsed(kind: type[T], values: dict[str, Any]) -> T:
    """Makes options of JSON as the command makes them of a configuration file."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "options")
    try:
        return parser.instantiate_classes(parser.parse_object({"options": values})).options  # type: ignore[no-any-return]
    except MnadError:
        raise
    except Exception as error:  # jsonargparse has many
        raise HTTPException(422, str(error)) from None


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise HTTPException(422, f"limit and before must be whole numbers, got {text[:80]!r}")
    return int(text)


async def _refused(status: int, _: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)
