"""Addresses in object storage, as `s3://bucket/folder`, that travel through restem as paths do.

fsspec reads and writes them, with the client of each kind of storage (`s3fs`, `gcsfs`, `adlfs`, ...), which finds
credentials in its usual environment, and retries. An `Address` answers what a path answers without being on a disk:
its name and parts, whether it exists, what is in a folder, the content of a small file. Whatever needs a file on a disk
raises a `UsageError`, or takes a copy (`restem.fetching`).
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any, NamedTuple

from restem.errors import RestemError, UsageError
from restem.wording import extra_command

# Two letters at least: `C:` is a drive.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.DOTALL)
_LOCAL = ("file", "local")

# What the listings of the kinds of storage say of an object's content: S3, Azure and HTTP; Google; others. A time alone
# tells as much as that of a file.
_VERSIONS = ("ETag", "generation", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


class Stored(NamedTuple):
    """What a listing says of an object. version: its ETag, or another text that changes with its content."""

    size: int
    version: str


_READ_AHEAD_BYTES = 1 << 22  # half a minute of a stem
_AT_ONCE = 128  # files in one call of a client, which moves some of them at the same time

# What is known of objects from the latest listing or question. The listings are of all that is below an address, so
# that what they lack is not there.
_known: dict[str, Stored] = {}
_listed: set[str] = set()


def as_path(path: Path | str) -> Path:
    """A path as a user writes it: an `Address` for `s3://...` and the like, else a path on this machine.

    Raises UsageError for an address that cannot be used.
    """
    if isinstance(path, Path):
        return path
    match = _ADDRESS.fullmatch(path)
    if match is None:
        return Path(path)
    scheme, rest = match[1], match[2]
    if scheme in _LOCAL:
        return Path(rest)
    if os.name == "nt":
        raise UsageError(f"{path}: addresses cannot be used on Windows.")
    if re.match(r"[^/]*:[^/]*@", rest):
        raise UsageError(f"{scheme}://...: an address holds no password; use the environment of the storage's client.")
    if not rest.strip("/") or (wrong := wrong_key(rest.rstrip("/").removeprefix("/"))):
        raise UsageError(f"{path}: is no address of a folder or object{f' ({wrong})' if rest.strip('/') else ''}.")
    return Address(path)


def wrong_key(key: str) -> str:
    """Why the name of an object is not taken as a path, or nothing."""
    parts = key.split("/")
    if ".." in parts or "." in parts or "" in parts:
        return "a part of its name is empty, . or .."
    return "its name holds a backslash or a zero" if "\\" in key or "\0" in key else ""


class Address(PosixPath):
    """An object, or a folder of objects, in object storage. Made by `as_path`.

    Examples
    --------
    >>> root = as_path("s3://bucket/songs")
    >>> str(root / "Song 1" / "vocals.flac"), (root / "a.flac").suffix, root.name
    ('s3://bucket/songs/Song 1/vocals.flac', '.flac', 'songs')
    """

    def __str__(self) -> str:
        text = super().__str__()
        scheme, colon, rest = text.partition(":/")
        return f"{scheme}://{rest}" if colon and "/" not in scheme else text

    def __fspath__(self) -> str:
        raise UsageError(f"{self}: is an address; this must be on a disk of this machine.")

    def __reduce__(self) -> tuple[Callable[..., Address], tuple[str, Stored | None]]:
        # What was listed travels along, so that a worker need not ask again and means the same content.
        return _sent, (str(self), _known.get(str(self)))

    def is_absolute(self) -> bool:
        return True

    def absolute(self) -> Address:
        return self

    def resolve(self, strict: bool = False) -> Address:  # noqa: ARG002
        return self

    def expanduser(self) -> Address:
        return self

    def is_symlink(self) -> bool:
        return False

    def stored(self) -> Stored:
        """Size and version, as listed or asked for once; raises FileNotFoundError where there is no such object."""
        url = str(self)
        if url not in _known:
            if any(str(parent) in _listed for parent in self.parents):
                raise FileNotFoundError(errno.ENOENT, "No such object", url)
            _known[url] = self.ask()
        return _known[url]

    def ask(self) -> Stored:
        """Size and version as they are now; raises as `stored` does."""
        with told_of(self):
            system, key = self.opened()
            return _stored(self, system.info(key))

    def exists(self, **_: Any) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self, **_: Any) -> bool:
        try:
            self.stored()
        except (FileNotFoundError, IsADirectoryError):
            return False
        return True

    def is_dir(self, **_: Any) -> bool:
        if str(self) in _listed:
            return True
        with told_of(self):
            system, key = self.opened()
            return bool(system.isdir(key))

    def stat(self, **_: Any) -> os.stat_result:
        """The size of an object; its other fields are 0."""
        return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, self.stored().size, 0, 0, 0))

    def iterdir(self) -> Generator[Address, None, None]:
        with told_of(self):
            system, key = self.opened()
            found = system.ls(key, detail=False)
        names = [PurePosixPath(one).name for one in found if one.rstrip("/") != key.rstrip("/")]
        yield from (self / name for name in names if not wrong_key(name))

    def rglob(self, pattern: str, **_: Any) -> Generator[Address, None, None]:  # type: ignore[override]
        """All objects below whose names match, but those whose names lead elsewhere."""
        names = [name for name in list_objects(self) if not wrong_key(name) and PurePosixPath(name).match(pattern)]
        yield from map(self.joinpath, names)

    def read_bytes(self) -> bytes:
        with told_of(self):
            system, key = self.opened()
            return bytes(system.cat_file(key))

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        with self.open(encoding=encoding, errors=errors, newline=newline) as file:
            return str(file.read())

    def open(  # type: ignore[override]
        self,
        mode: str = "r",
        buffering: int = -1,  # noqa: ARG002
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """The content of an object as a file, read at once; it is for small ones, such as tables."""
        if mode not in ("r", "rb"):
            raise UsageError(f"{self}: is an address, which cannot be written to in place.")
        content = io.BytesIO(self.read_bytes())
        return content if mode == "rb" else io.TextIOWrapper(content, encoding, errors, newline)

    def ranges(self) -> Any:
        """The content as a file of which parts are read, each with what follows it. Used inside of `told_of`."""
        system, key = self.opened()
        return system.open(key, "rb", cache_type="readahead", block_size=_READ_AHEAD_BYTES)

    def opened(self) -> tuple[Any, str]:
        """The fsspec file system of the address, and its name in it. Called inside of `told_of`."""
        import fsspec

        url = str(self)
        # Not `url_to_fs`, to which `::` in a name means something.
        kind = fsspec.get_filesystem_class(url.partition("://")[0])
        # Listings are kept here, not in it: what it remembers it takes for true for ever.
        return kind(**kind._get_kwargs_from_urls(url), use_listings_cache=False), kind._strip_protocol(url)


def _sent(url: str, stored: Stored | None) -> Address:
    if stored is not None:
        _known[url] = stored
    return Address(url)


def list_objects(root: Address) -> dict[str, Stored]:
    """All objects below an address, as they are now: name relative to it -> what is stored; none where nothing is.

    Names are as the storage has them, and may be anything; see `wrong_key`. Raises RestemError where it cannot be read.
    """
    with told_of(root):
        system, key = root.opened()
        try:
            found: Mapping[str, Mapping[str, Any]] = system.find(key, detail=True)
        except FileNotFoundError as error:
            if re.search("(bucket|container) .*not exist", str(error)):
                raise RestemError(f"{root}: there is no such bucket; create it, or correct the address.") from error
            found = {}
    url, above = str(root), key.rstrip("/") + "/"
    objects = {
        name.removeprefix(above): _stored(root, one)
        for name, one in found.items()
        if name.startswith(above) and not name.endswith("/")  # which is how consoles make an empty folder
    }
    for known in [one for one in _known if one.startswith(f"{url}/")]:
        del _known[known]
    _known.update((f"{url}/{name}", stored) for name, stored in objects.items())
    if objects:
        _listed.add(url)
    return objects


def download(pairs: list[tuple[Address, Path]]) -> None:
    """Copies objects to files, several at a time."""
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        for _, path in part:
            path.parent.mkdir(parents=True, exist_ok=True)
        with told_of(part[0][0].parent if len(part) > 1 else part[0][0]):
            system, _ = part[0][0].opened()
            system.get([address.opened()[1] for address, _ in part], [str(path) for _, path in part])


def upload(pairs: list[tuple[Path, Address]]) -> None:
    """Copies files to objects, several at a time; each appears when it is complete."""
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        with told_of(part[0][1].parent if len(part) > 1 else part[0][1]):
            system, _ = part[0][1].opened()
            system.put([str(path) for path, _ in part], [address.opened()[1] for _, address in part])
    for _, address in pairs:
        _known.pop(str(address), None)
        _listed.difference_update(map(str, address.parents))


def _stored(address: Address, info: Mapping[str, Any]) -> Stored:
    if info.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, "Is a folder", str(address))
    version: Any = next((info[name] for name in _VERSIONS if info.get(name)), "")
    if isinstance(version, datetime):  # which some give as a number in a listing
        version = version.timestamp()
    if not version or info.get("size") is None:
        raise RestemError(
            f"{address}: its storage states neither sizes nor versions, so that changes would go unnoticed; copy it."
        )
    return Stored(int(info["size"]), str(version))


@contextmanager
def told_of(address: Path) -> Iterator[None]:
    """Turns what a client of object storage raises into one line about an address and the remedy.

    That something is not there stays a FileNotFoundError, that it is a folder an IsADirectoryError. All else is not the
    fault of one object, and becomes a RestemError.
    """
    try:
        yield
    except RestemError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, _first_line(error) or "No such object", str(address)) from error
    except IsADirectoryError as error:
        raise IsADirectoryError(errno.EISDIR, "Is a folder", str(address)) from error
    except ImportError as error:
        package = _client(str(address).partition("://")[0])
        command = extra_command("cluster") if package == "s3fs" else f"`pip install {package}`"
        needed = f"{package} is not installed; run {command}" if package else _first_line(error)
        raise RestemError(f"{address}: {needed}.") from error
    except Exception as error:  # each client has errors of its own
        raise RestemError(f"{address}: {_problem(error)}") from error


def _client(scheme: str) -> str:
    """The package that reads addresses of a scheme; empty if it is not named like its module."""
    try:
        from fsspec.registry import known_implementations
    except ImportError:
        return "fsspec"
    package = str(known_implementations[scheme]["class"].partition(".")[0])
    return package if package in ("s3fs", "gcsfs", "adlfs") else ""


def _problem(error: Exception) -> str:
    """What went wrong, and the remedy."""
    name, text = type(error).__name__, _first_line(error)
    if "Credential" in name or "ProfileNotFound" in name:
        return f"no credentials were found ({text}); give them in the usual environment of the storage's client."
    if isinstance(error, PermissionError):
        return f"access is denied ({text}); check the key, and what it may do."
    if isinstance(error, ValueError) and "rotocol not known" in text:
        return "there is no such kind of storage; use s3://, gs://, az:// or another one that fsspec knows."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "there is no space left for its copy on this machine; set TMPDIR to a larger disk."
    return f"cannot be reached or answers with an error ({text or name}); the same command goes on later."


def _first_line(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).strip()
    return text.splitlines()[0].rstrip(".")[:300] if text else ""
