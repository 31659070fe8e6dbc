"""Choosing and composing modules on the server, by the very commands that people would type.

Resolver and composer are no part of the server: they run as `modhub resolve` and `modhub compose` in processes of
their own, against this server, as whoever asks, within limits of memory and time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from threading import BoundedSemaphore
from typing import IO, TYPE_CHECKING, Any

from modhub.package.package import CARD_FILE, MANIFEST_FILE
from modhub.spec.digests import FileRecord
from modhub.spec.manifest import Manifest
from modhub_registry.errors import InvalidCollection, NotSupported, TooLarge, TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modhub_registry.routes.asked import Asked

AT_ONCE = 2
"""Requests that resolve or compose at a time."""

WAITING = 4
"""Others that wait for their turn; who comes later is sent away at once, so that the server's threads stay free."""

WAIT_S = 10.0
"""How long they wait."""

PATIENCE_S = 60.0
"""For one command."""

COMPOSED_BYTES = 256 << 20
"""Files of modules that are composed here; larger ones are composed where they are used."""

TOLD = 2000
"""Characters of a reason."""

LOCK_FILE = "modhub.lock"
MEMORY_BYTES = 4 << 30
PASSED_ON = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH")
"""Settings of the server's process that a command sees; tokens are none of them."""

START = f"""
import sys
if sys.platform != "win32":
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES}))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from modhub.cli import main
main()
"""


class Bench:
    """Where modules are composed, by a few at a time."""

    def __init__(self) -> None:
        self._places, self._queue = BoundedSemaphore(AT_ONCE), BoundedSemaphore(AT_ONCE + WAITING)

    def resolve(self, asked: Asked, requirements: Sequence[str]) -> dict[str, Any]:
        """Return the lock of some requirements, as plain values.

        Raises:
            InvalidCollection: nothing satisfies them; says why.
            TooManyRequests: others are at it.
        """
        with self._turn(), tempfile.TemporaryDirectory() as folder:
            return _resolve(asked, requirements, Path(folder))

    def compose(self, asked: Asked, requirements: Sequence[str]) -> IO[bytes]:
        """Return an archive of the composed model with its lock, open at its beginning; whoever reads it closes it.

        Raises:
            InvalidCollection: they cannot be composed; says why.
            TooLarge: their files are too many bytes for this server.
            TooManyRequests: others are at it.
        """
        with self._turn(), tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            size = sum(
                file["size"] for module in _resolve(asked, requirements, place)["module"] for file in module["files"]
            )
            if size > COMPOSED_BYTES:
                raise TooLarge(
                    f"the modules have {size} bytes, more than {COMPOSED_BYTES}: compose them by the command"
                )
            _run(asked, place, "compose", *requirements, "-o", str(place / "model"))
            return _archive(published(_read(place / "model"), of=_own_address(asked), at=asked.base_url))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        headers = {"Retry-After": str(int(WAIT_S))}
        busy = TooManyRequests("others are composing now: try again in a moment", headers=headers)
        if not self._queue.acquire(blocking=False):
            raise busy
        try:
            if not self._places.acquire(timeout=WAIT_S):
                raise busy
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._queue.release()


def published(files: Mapping[str, bytes], *, of: str, at: str) -> dict[str, bytes]:
    """Return a composite whose lock names a registry by the address that people know.

    Args:
        files: the composite's.
        of: the address that its lock has.
        at: the address that it should have.
    """
    manifest = Manifest.from_json(files[MANIFEST_FILE])
    lock = files[LOCK_FILE].replace(json.dumps(of).encode(), json.dumps(at).encode())
    found = {**files, LOCK_FILE: lock}
    old = sum(file.size for file in manifest.forms["standalone"])
    new = old - len(files[LOCK_FILE]) + len(lock)
    found[CARD_FILE] = files[CARD_FILE].replace(f"{old:,} bytes".encode(), f"{new:,} bytes".encode())
    forms = {
        name: tuple(FileRecord.of(file.path, data=found[file.path]) for file in listed)
        for name, listed in manifest.forms.items()
    }
    card = FileRecord.of(CARD_FILE, data=found[CARD_FILE])
    return {**found, MANIFEST_FILE: dataclasses.replace(manifest, forms=forms, card=card).to_json()}


def _resolve(asked: Asked, requirements: Sequence[str], folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run(asked, folder, "resolve", *requirements, "--json"))
    return found


def _run(asked: Asked, folder: Path, verb: str, *arguments: str) -> str:
    """Return what a command printed.

    Raises:
        InvalidCollection: the answer is no, or it took too long.
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    places = {"HOME": home, "USERPROFILE": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home, "HF_HOME": home}
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env |= {name: str(place) for name, place in places.items()}
    env |= {"MODHUB_STORE": str(folder / "store"), "MODHUB_REGISTRY": _own_address(asked), "OMP_NUM_THREADS": "1"}
    scheme, _, token = asked.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        env["MODHUB_TOKEN"] = token.strip()
    command = [sys.executable, "-c", START, verb, *arguments]
    try:
        done = subprocess.run(  # noqa: S603  Our own command; requirements were checked to be none of its options.
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=env,
            cwd=folder,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidCollection(f"this took more than {PATIENCE_S:.0f} s: compose them by the command") from error
    if done.returncode:
        told = done.stderr.strip().removeprefix("modhub: ").replace(_own_address(asked), asked.base_url)
        raise InvalidCollection(told.replace(str(folder), "")[:TOLD].rstrip(".") or "the command failed")
    return done.stdout


def _own_address(asked: Asked) -> str:
    """Return where this server listens; never what the request calls it, which would be the reader's choice.

    Raises:
        NotSupported: it listens at no address.
    """
    host, port = asked.request.scope.get("server") or ("", None)
    if port is None:
        raise NotSupported("the server listens at no address that the command could ask: compose by the command")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _archive(files: Mapping[str, bytes]) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  The answer that is sent closes it.
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(f"model/{name}", date_time=(2020, 1, 1, 0, 0, 0)), data)
    file.seek(0)
    return file
