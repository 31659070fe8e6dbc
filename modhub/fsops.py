"""Every call of modhub that changes files, and the one bounded way to read them.

A file or folder appears under its final name in one step, after its bytes have reached the disk:

1. write to a temporary name in the same folder, fsync it;
2. `link` it (the name must be new), or `replace` / `rename` it, to the final name;
3. fsync the folder.

So a reader sees nothing or everything, whenever the writer is killed. What a killed writer leaves has a name that
starts with `TEMPORARY`; readers skip it and `remove_leftovers` deletes it. Errors of the operating system become
`StorageError`, or `NotFound` where a reader names what is not there.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import secrets
import shutil
import stat
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias

from modhub.errors import FormatError, IntegrityError, InvalidName, NotFound, StorageError
from modhub.spec.names import check_file_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

if sys.platform != "win32":
    import fcntl

TEMPORARY = ".tmp-"
# Absent on Windows, where links need a privilege and no pipes have file names.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
CHUNK_BYTES = 1 << 20
LARGE_BYTES = 8 << 20
"""Files from this size on stay where they lie until somebody needs what is in them."""

Buffer: TypeAlias = bytes | memoryview
"""Bytes in memory, or those of a file that is mapped into it."""


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A file too large to hold in memory, by its path; size and digest say what it has to be."""

    path: Path
    size: int
    sha256: str

    def __len__(self) -> int:
        """Return its bytes."""
        return self.size

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes; a file that was changed is found at its end.

        Raises:
            IntegrityError: it is not the file it was.
            NotFound: it is gone.
            StorageError: it cannot be read.
        """
        digest = hashlib.sha256()
        for chunk in read_chunks(self.path, limit=self.size):
            digest.update(chunk)
            yield chunk
        self._check(digest.hexdigest())

    def data(self) -> Buffer:
        """Return all bytes, in memory: who computes with them needs those that were hashed.

        Raises:
            IntegrityError: it is not the file it was.
            NotFound: it is gone.
            StorageError: it cannot be read.
        """
        data = read_file(self.path, limit=self.size)
        self._check(hashlib.sha256(data).hexdigest())
        return data

    def digest(self) -> str:
        """Return the digest of what lies there now.

        Raises:
            FormatError: it is larger than it was, or no regular file.
            NotFound: it is gone.
            StorageError: it cannot be read.
        """
        return digest_of(self.path, limit=self.size)

    def _check(self, digest: str) -> None:
        if digest != self.sha256:
            raise IntegrityError(f"{self.path} was changed while it was read")


@dataclass(frozen=True, kw_only=True)
class MappedFile(LocalFile):
    """A file that is looked into and not kept in memory, for a process that whatever lies there may end.

    It can be changed after it was hashed, and cut short while it is looked into: nothing may be computed with what it
    holds but a verdict.
    """

    def data(self) -> Buffer:
        """Return all bytes, each read from the disk when it is looked at.

        Raises:
            FormatError: it is no regular file, or is empty.
            NotFound: it is gone.
            StorageError: it cannot be mapped.
        """
        with _opened(self.path) as (file, size):
            if not size:
                raise FormatError("is empty", file=str(self.path))
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


Content: TypeAlias = bytes | LocalFile
"""The bytes of a file, or where they lie."""


def bytes_of(content: Content) -> bytes:
    """Return the bytes of a content, in memory; see `LocalFile.data`."""
    return content if isinstance(content, bytes) else bytes(content.data())


def chunks_of(content: Content) -> Iterator[bytes]:
    """Yield the bytes of a content; see `LocalFile.chunks`."""
    if isinstance(content, LocalFile):
        yield from content.chunks()
    else:
        yield content


def relative_path(text: str) -> PurePosixPath:
    """Return a path that stays inside the folder it is joined to, on every system.

    Each component is a plain file name: no ``..``, no hidden name, no drive, no device of Windows.

    Raises:
        InvalidName: the text is not such a path.
    """
    components = text.split("/")
    for component in components:
        check_file_name(component)
    return PurePosixPath(*components)


def read_file(path: Path, *, limit: int) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes; the file is read once.

    The last component is not followed when it is a link: resolve a path that a person typed before.

    Raises:
        NotFound: there is no such file.
        FormatError: it is a link, a folder, a pipe or a device, or it is larger than `limit`.
        StorageError: it cannot be read.
    """
    with _opened(path) as (file, size):
        data = file.read(limit + 1) if size <= limit else b""
    if size > limit or len(data) > limit:
        raise FormatError(f"holds more than the limit of {limit:,} bytes", file=str(path))
    return data


def read_chunks(path: Path, *, limit: int, start: int = 0) -> Iterator[bytes]:
    """Yield the bytes of a regular file of at most `limit` bytes from a position on; see `read_file`."""
    with _opened(path) as (file, size):
        if not start <= size <= limit:
            raise FormatError(f"holds {size:,} bytes, not {start:,} to {limit:,}", file=str(path))
        file.seek(start)
        left = limit - start
        while chunk := file.read(min(CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise FormatError(f"holds more than the limit of {limit:,} bytes", file=str(path))
            yield chunk


def digest_of(path: Path, *, limit: int) -> str:
    """Return the SHA-256 of a regular file of at most `limit` bytes, of which memory holds a piece; see `read_file`."""
    digest = hashlib.sha256()
    for chunk in read_chunks(path, limit=limit):
        digest.update(chunk)
    return digest.hexdigest()


def local_file(path: Path, *, limit: int, sha256: str) -> LocalFile:
    """Return a regular file of at most `limit` bytes as one that stays where it is; `sha256` is what it should have.

    Raises:
        NotFound: there is no such file.
        FormatError: it is a link, a folder, a pipe or a device, or it is larger than `limit`.
        StorageError: it cannot be read.
    """
    with _opened(path) as (_, size):
        pass
    if size > limit:
        raise FormatError(f"holds more than the limit of {limit:,} bytes", file=str(path))
    return LocalFile(path=path, size=size, sha256=sha256)


def file_size(path: Path) -> int:
    """Return the bytes of a regular file, 0 where there is none.

    Raises:
        StorageError: it cannot be looked at.
    """
    try:
        with _reading(path):
            found = path.lstat()
    except NotFound:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def list_folder(path: Path) -> tuple[str, ...]:
    """Return the sorted names in a folder, without those that start with a dot.

    Raises:
        NotFound: there is no such folder.
        StorageError: it cannot be read.
    """
    with _reading(path):
        return tuple(sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(".")))


def write_new(path: Path, data: bytes) -> None:
    """Write a file whose name must not exist yet.

    Raises:
        StorageError: the name exists, or the disk refuses.
    """
    if not write_if_absent(path, data):
        raise StorageError(f"cannot write {path}: it exists already")


def write_if_absent(path: Path, data: bytes) -> bool:
    """Write a file unless its name exists; tell whether this call made it.

    Of any number of concurrent callers exactly one gets True, also on network file systems whose locks lie.

    Raises:
        StorageError: the disk refuses.
    """
    with _changing("write", path), _temporary_file(path, data) as temporary:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            # A network file system may repeat a request whose answer was lost, and then find our own link.
            if not path.samefile(temporary):
                return False
        _sync_folder(path.parent)
    return True


def replace_file(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file in one step, over an older one if there is one; a private one only its owner may read.

    Raises:
        StorageError: the disk refuses; the older file is then as it was.
    """
    with _changing("write", path), _temporary_file(path, data, private=private) as temporary:
        temporary.replace(path)
        _sync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to fill, which gets its name in one step when the block ends well, over an older one.

    Raises:
        StorageError: the disk refuses; the older file is then as it was.
    """
    path = path.absolute()
    temporary = _temporary_sibling(path)
    with _changing("write", path):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink()
        _sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, Content]) -> None:
    """Write a whole folder in one step; `files` maps relative paths to contents.

    Raises:
        InvalidName: a path would leave the folder, or two differ only in case.
        IntegrityError: a local file is not what it was said to be.
        StorageError: the target exists and is not an empty folder, or the disk refuses; nothing is left behind.
    """
    parts = _checked_parts(files)
    path = path.absolute()  # The folder "." has no siblings by that name.
    make_folder(path.parent)
    with _changing("write", path):
        _refuse_occupied(path)
        temporary = _temporary_sibling(path)
        try:
            temporary.mkdir()
            _fill_folder(temporary, parts)
            with suppress(OSError):
                path.rmdir()  # Only Windows minds an empty folder at the target.
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def appending(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to append to, made where it is missing; afterwards its bytes are on the disk.

    Raises:
        StorageError: the disk refuses.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with _changing("write", path), os.fdopen(os.open(path, flags, 0o666), "ab") as file:
        try:
            yield file
        finally:
            file.flush()
            os.fsync(file.fileno())


def replace_by(path: Path, source: Path) -> None:
    """Give a file whose bytes are on the disk its final name, over an older one if there is one.

    Raises:
        StorageError: the disk refuses.
    """
    with _changing("write", path):
        source.replace(path)
        _sync_folder(path.parent)


def move_folder(source: Path, target: Path) -> bool:
    """Rename a folder to a name that must not exist; tell whether this call did it.

    False means that the source is gone or the target is there: somebody else was first.

    Raises:
        StorageError: the disk refuses.
    """
    make_folder(target.parent)
    with _changing("write", target):
        try:
            source.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                return False
            raise
        _sync_folder(target.parent)
        _sync_folder(source.parent)
    return True


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents; an existing one is fine.

    Raises:
        StorageError: a file is in the way, or the disk refuses.
    """
    with _changing("make folder", path):
        missing = [path]
        while not missing[-1].parent.is_dir():
            missing.append(missing[-1].parent)
        for folder in reversed(missing):
            if not folder.is_dir():
                with suppress(FileExistsError):
                    folder.mkdir()
                _sync_folder(folder.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def remove_empty_folder(path: Path) -> None:
    """Delete a folder if it is empty; a full or missing one is fine.

    Raises:
        StorageError: the disk refuses.
    """
    with _changing("remove", path):
        try:
            path.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise


def remove(path: Path) -> None:
    """Delete a file, or a folder with all it holds; a missing one is fine, links are not followed.

    Raises:
        StorageError: the disk refuses.
    """
    with _changing("remove", path):
        try:
            if not stat.S_ISDIR(path.lstat().st_mode):
                path.unlink()
                return
            # The folder disappears at once; a reader never finds it half empty.
            temporary = _temporary_sibling(path)
            path.rename(temporary)
        except FileNotFoundError:
            return
        shutil.rmtree(temporary)


def remove_leftovers(folder: Path, *, older_than_s: float) -> int:
    """Delete what killed writers left anywhere below a folder; return how many things that were.

    Younger ones may belong to a writer at work.

    Raises:
        StorageError: the disk refuses.
    """
    horizon, count = time.time() - older_than_s, 0
    with _changing("clean", folder):
        for place, folders, files in os.walk(folder):
            for name in [*folders, *files]:
                path = Path(place, name)
                if name.startswith(TEMPORARY) and path.lstat().st_mtime < horizon:
                    remove(path)
                    count += 1
            folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]
    return count


@contextmanager
def locked(path: Path, *, patience_s: float) -> Iterator[None]:
    """Hold an advisory lock while the block runs, or run without it.

    A comfort that spares concurrent writers double work, never what correctness rests on: locks lie on some network
    file systems, a read-only folder has none, and a stopped holder is not waited for longer than `patience_s` seconds.
    """
    descriptor = _open_lock(path)
    try:
        if descriptor is not None:
            _wait_for_lock(descriptor, patience_s=patience_s)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into ours, for a path that is read."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{path}: {_cause(error)}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FormatError("is a link, not a regular file", file=str(path)) from error
        raise StorageError(f"cannot read {path}: {_cause(error)}") from error


@contextmanager
def _changing(action: str, path: Path) -> Iterator[None]:
    """Turn errors of the operating system into ours, for a path that is changed."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {action} {path}: {_cause(error)}") from error


def _cause(error: OSError) -> str:
    """Return the system's words for an error, without number and file name."""
    words = os.strerror(error.errno) if error.errno is not None else str(error)
    return words[:1].lower() + words[1:]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a regular file to read, and its size; a pipe does not block it, a link is refused."""
    with _reading(path):
        descriptor = os.open(path, OPEN_FLAGS)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise FormatError("is not a regular file", file=str(path))
        with os.fdopen(descriptor, "rb") as file:
            yield file, found.st_size


def _checked_parts(files: Mapping[str, Content]) -> dict[PurePosixPath, Content]:
    """Return the files by checked path."""
    parts = {relative_path(text): data for text, data in files.items()}
    folded: dict[str, PurePosixPath] = {}
    for part in parts:
        twin = folded.setdefault(str(part).lower(), part)
        if twin != part:
            raise InvalidName(f"{str(twin)!r} and {str(part)!r} are one file where case is ignored")
    return parts


def _refuse_occupied(path: Path) -> None:
    """Raise unless a folder can take this name."""
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise StorageError(f"cannot write {path}: it exists and is not a folder")
        if any(path.iterdir()):
            raise StorageError(f"cannot write {path}: the folder exists and is not empty")


def _fill_folder(folder: Path, parts: Mapping[PurePosixPath, Content]) -> None:
    """Write files below a folder nobody else knows yet, and flush files and folders to disk."""
    folders = {folder}
    for part, data in parts.items():
        place = folder.joinpath(part.parent)
        place.mkdir(parents=True, exist_ok=True)
        _write_synced(folder.joinpath(part), data)
        folders.update(folder.joinpath(parent) for parent in part.parents)
    for place in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        _sync_folder(place)


def _temporary_sibling(path: Path) -> Path:
    """Return a new name in the same folder, hence on the same file system."""
    return path.with_name(TEMPORARY + secrets.token_hex(8))


@contextmanager
def _temporary_file(path: Path, data: bytes, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary file with these bytes beside `path`; afterwards that name is gone."""
    temporary = _temporary_sibling(path)
    try:
        if private:
            # Before its bytes, so that nobody can open it meanwhile.
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        _write_synced(temporary, data, mode="wb" if private else "xb")
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()


def _write_synced(path: Path, data: Content, *, mode: Literal["xb", "wb"] = "xb") -> None:
    """Write a new file and wait until its bytes are on the disk."""
    with path.open(mode) as file:
        for chunk in chunks_of(data):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; they write names through.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int | None:
    """Return a descriptor of a lock file, or None where there can be none."""
    if sys.platform == "win32":
        return None
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError:
        return None


def _wait_for_lock(descriptor: int, *, patience_s: float) -> None:
    """Take the lock as soon as it is free, or give up."""
    if sys.platform == "win32":
        return
    deadline = time.monotonic() + patience_s
    for pause_s in _pauses():
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return
            time.sleep(pause_s)
        except OSError:
            return
        else:
            return


def _pauses() -> Iterable[float]:
    """Yield waiting times in seconds that grow from 1 ms to 50 ms."""
    pause_s = 0.001
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, 0.05)
