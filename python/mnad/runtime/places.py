"""Where data and results are: local paths, and addresses such as s3://bucket/folder, which fsspec reaches.

What an address names is a ``upath.UPath``: pathlib's interface over fsspec. It answers questions about names without a
request; whatever asks the server is in this module, so that its words become errors of ours and requests are few.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, cast
from urllib.parse import unquote

from mnad.runtime.errors import ConfigError, DataError, MnadError, OutputError

if TYPE_CHECKING:
    from typing_extensions import Self

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "http": "http", "https": "http"}
READ_ONLY = ("http", "https")
# By which of these a service tells one content of a file from the next, the surest first.
TAGS = ("ETag", "etag", "md5Hash", "Content-MD5", "Digest", "Last-Modified", "LastModified", "updated", "mtime")


class Place(Protocol):
    """A local path or an address: what ``pathlib.Path`` and ``upath.UPath`` have in common.

    What needs a file of this machine takes a ``Path``, see :func:`mnad.data.downloads.local_copy`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def stem(self) -> str: ...  # noqa: D102
    @property
    def suffix(self) -> str: ...  # noqa: D102
    @property
    def parts(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def parent(self) -> Self: ...  # noqa: D102
    def __hash__(self) -> int: ...
    def __lt__(self, other: Self, /) -> bool: ...
    def __truediv__(self, name: str, /) -> Self: ...
    def with_name(self, name: str, /) -> Self: ...  # noqa: D102
    def with_suffix(self, suffix: str, /) -> Self: ...  # noqa: D102


PlaceT = TypeVar("PlaceT", bound=Place)


class Version(NamedTuple):
    """Which content a file at an address has: its size in bytes, and the tag or time that the server gives it."""

    size: int
    tag: str


def is_address(text: str) -> bool:
    """Returns whether a text is an address, and no path.

    Example:
        >>> is_address("s3://bucket/a.mp4"), is_address("videos/a.mp4")
        (True, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]", text) is not None


def place(text: str) -> Place:
    """Returns what a user names: a local path, or an address that fsspec knows.

    Raises:
        ConfigError: If a package is missing that reaches it, or there is no such kind of address.
    """
    if not is_address(text):
        return Path(text)
    protocol = text.partition("://")[0].lower()
    try:
        import fsspec
        from upath import UPath

        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        what = f"pip install 'mnad-ext[{extra}]'" if extra else "pip install universal_pathlib and what fsspec names"
        raise ConfigError(f"{text} needs a package that is not installed ({error}); install it with: {what}") from error
    except ValueError as error:
        raise ConfigError(f"{text}: {protocol}:// is no kind of address that fsspec knows") from error
    if protocol in READ_ONLY and re.search(r"[?#]", text):
        raise ConfigError(f"{text.partition('?')[0]}: an address of a video must end with its name, without ? or #")
    options: Any = {"use_listings_cache": True} if protocol in READ_ONLY else {}  # as the others do by themselves
    return cast(Place, UPath(text.rstrip("/"), **options))


def as_text(kind: Any) -> Any:
    """Returns the type in which a parser takes a value that may be an address: pathlib would join its slashes.

    Example:
        >>> as_text(Place | None), as_text(Path), as_text(int)
        (str | None, <class 'str'>, <class 'int'>)
    """
    if kind in (Path, Place):
        return str
    return str | None if kind in (Path | None, Place | None) else kind


def as_typed(name: str, value: Any, kind: Any) -> Any:
    """Makes a path or a place of a text for a field that holds one; returns anything else as it is.

    Raises:
        ConfigError: If it is an address and the field holds a local path.
    """
    if not isinstance(value, str):
        return value
    if kind in (Place, Place | None):
        return place(value)
    if kind not in (Path, Path | None):
        return value
    if is_address(value):
        raise ConfigError(f"{name} must be a path on this machine, got the address {value}")
    return Path(value)


def below(found: Place, folder: Place) -> str:
    """Returns how something is called as seen from a folder in which it lies, with slashes.

    Example:
        >>> below(Path("videos/normal/a.mp4"), Path("videos"))
        'normal/a.mp4'
    """
    return "/".join(found.parts[len(folder.parts) :])


def absolute(where: PlaceT) -> PlaceT:
    """Returns a local path from the root on, links resolved; an address as it is."""
    return where.resolve() if isinstance(where, Path) else where


def name_of(where: Place) -> str:
    """Returns the last name of a place, which of a whole bucket is that of the bucket."""
    return absolute(where).name or where.parts[0].strip("/")


def is_file(where: Place) -> bool:
    """Returns whether there is a file; of an address its server is asked anew.

    Raises:
        DataError: If it gives no answer.
    """
    if isinstance(where, Path):
        return where.is_file()
    return kind_at(where) == "file"


def exists(where: Place) -> bool:
    """Returns whether there is anything; of an address its server is asked anew.

    Raises:
        DataError: If it gives no answer.
    """
    return where.exists() if isinstance(where, Path) else kind_at(where) is not None


def kind_at(address: Place) -> Literal["file", "folder"] | None:
    """Asks a server what is at an address; None if nothing is.

    Raises:
        DataError: If it cannot be reached, does not let us in, or has no such bucket.
    """
    with server_errors(address, "look at", DataError):
        try:
            found = _fresh(address).info(key_of(address))
        except FileNotFoundError as error:
            if _is_silent(error, address):
                return None
            raise
    # A web server says the same of a folder as of a file, but leads to its page.
    page = str(found.get("url", "")).endswith("/") or found.get("mimetype") == "text/html"
    return "folder" if found["type"] != "file" or page else "file"


def listed(folder: PlaceT) -> list[tuple[PlaceT, bool]]:
    """Lists a folder at an address, by a request for every thousand names, once until :func:`forget_listings`.

    Returns:
        What lies in it, and whether that is a folder; nothing if it is not there.

    Raises:
        DataError: If the server does not say.
    """
    path = key_of(folder)
    web = "://" in path
    with server_errors(folder, "list", DataError):
        try:
            found = filesystem(folder).ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
    above, kinds = f"{unquote(path) if web else path}".rstrip("/") + "/", dict[str, bool]()
    for each in found:
        whole = (unquote(each["name"]) if web else each["name"]).rstrip("/")
        name = whole.removeprefix(above)
        if "/" in name or (web and "?" in name):
            continue  # the folder's own marker, or links of a page that sort it or lead elsewhere
        kinds[name] = each["type"] == "directory"
    return [(folder / name, is_folder) for name, is_folder in kinds.items()]


def files_below(folder: Place) -> set[str]:
    """Returns the files in a folder and in those below it, by their names as seen from there; none if it is not there.

    Raises:
        DataError: If the server of an address does not say.
    """
    if isinstance(folder, Path):
        return {below(file, folder) for file in folder.rglob("*") if file.is_file()}
    root = key_of(folder).rstrip("/")
    with server_errors(folder, "list", DataError):
        try:
            return {name.removeprefix(root).lstrip("/") for name in _fresh(folder).find(root)}
        except FileNotFoundError:
            return set()


def remove_file(file: Place) -> None:
    """Removes a file, if it is there.

    Raises:
        OutputError: If the server of an address does not.
    """
    if isinstance(file, Path):
        file.unlink(missing_ok=True)
        return
    with server_errors(file, "remove", OutputError), suppress(FileNotFoundError):
        filesystem(file).rm_file(key_of(file))


def forget_listings(address: Place) -> None:
    """Makes sure that what is listed next is what is there now."""
    files = filesystem(address)
    files.invalidate_cache()
    files.dircache.clear()  # HTTP's does not do so itself


def version_of(address: Place, *, fresh: bool = False) -> Version:
    """Returns which content a file has, as it was listed, or as its server says now.

    Raises:
        DataError: If it cannot be read, or the server does not tell one content from another.
    """
    with server_errors(address, "read", DataError):
        found = (_fresh(address) if fresh else filesystem(address)).info(key_of(address))
    tag = next((str(found[name]) for name in TAGS if found.get(name)), None)
    if found.get("size") is None or tag is None:
        raise DataError(
            f"the server of {address} does not say how large the file is and when it changed; download it and name "
            "the local file"
        )
    return Version(int(found["size"]), tag)


def readable(where: Place) -> Path | io.BytesIO:
    """Returns what NumPy can load: a path as it is, of an address the content.

    Raises:
        DataError: If it cannot be read.
    """
    if isinstance(where, Path):
        return where
    with server_errors(where, "read", DataError):
        return io.BytesIO(_fresh(where).cat_file(key_of(where)))


def download(address: Place, file: Path) -> None:
    """Copies a file from an address; whatever is wrong with that shows as an exception of the library that asks."""
    filesystem(address).get_file(key_of(address), str(file))


def upload(file: Path, address: Place) -> None:
    """Writes a file to an address as one object, which appears whole or not at all.

    Raises:
        OutputError: With the server's words, if it cannot be written.
    """
    check_writable(address)
    with server_errors(address, "write", OutputError):
        filesystem(address).put_file(str(file), key_of(address))


def prove_writable(folder: Place) -> None:
    """Writes an object to a folder at an address, and removes it.

    Raises:
        OutputError: If it cannot.
    """
    check_writable(folder)
    probe = folder / f".mnad-probe-{os.urandom(8).hex()}"
    with server_errors(folder, "write to", OutputError):
        filesystem(probe).pipe_file(key_of(probe), b"x")
        filesystem(probe).rm_file(key_of(probe))


def check_writable(address: Place) -> None:
    """Makes sure that an address is of a kind that can be written to.

    Raises:
        OutputError: If it is a web address.
    """
    if (protocol := cast(Any, address).protocol) in READ_ONLY:
        raise OutputError(f"cannot write {address}: {protocol}:// can only be read; name a folder or a bucket")


def filesystem(address: Place) -> Any:
    """Returns fsspec's file system of an address, one for all threads."""
    return cast(Any, address).fs


def key_of(address: Place) -> str:
    """Returns the name of an address in its file system."""
    return str(cast(Any, address).path)


@contextmanager
def server_errors(address: Place, doing: str, kind: type[MnadError]) -> Iterator[None]:
    """Turns what a server says of an address, or the library that asks it, into an error of ours."""
    try:
        yield
    except MnadError:
        raise
    except Exception as error:  # each service's library has kinds of its own
        raise kind(f"cannot {doing} {address}: {words_of(error, address)}") from error


def words_of(error: BaseException, address: Place) -> str:
    """Returns what is wrong in a line: the cause where the error only names the address."""
    while error.__cause__ is not None and _only_names(error, address):
        error = error.__cause__
    if _only_names(error, address):
        return "there is no such file" if isinstance(error, FileNotFoundError) else type(error).__name__
    return " ".join((getattr(error, "strerror", None) or str(error)).split())


def _only_names(error: BaseException, address: Place) -> bool:
    return str(error).strip("/") in ("", key_of(address).strip("/"))


def _is_silent(error: FileNotFoundError, address: Place) -> bool:
    """Returns whether an error says no more than that nothing is there, as it does not of a bucket that is missing."""
    return _only_names(error, address) and (
        error.__cause__ is None
        or isinstance(error.__cause__, FileNotFoundError)
        or getattr(error.__cause__, "status", None) == 404  # of a web server; a refusal has another one
    )


def _fresh(address: Place) -> Any:
    """Returns a file system that remembers no listing."""
    files = filesystem(address)
    return type(files)(*files.storage_args, **{**files.storage_options, "use_listings_cache": False})
