"""Row S9: a registry of one's own under a mixed load, and how it takes growing.

Clients keep a connection each, think for half a second to one and a half between two requests, and check every answer.
Growth is measured with one client: the same requests while the registry holds more and more collections.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.memory import held_kib
from modhub.spec.names import CollectionId
from modhub_registry.auth import tokens
from modhub_registry.settings import Settings
from modhub_registry.storage import history, repos
from modhub_registry.storage.registry import open_registry
from modhub_registry.storage.trees import File, empty_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modhub_registry.storage.registry import Registry

SEED = Path(__file__).parents[1] / "registry" / "seed" / "modhub" / "resnet20-cifar10"
START = "from modhub.cli import main; main()"
THINK_S = (0.5, 1.5)
RELEASES = 10
"""Of each collection that only is there."""

MIX = {"search": 30, "info": 20, "index": 25, "download": 20, "publish": 5}
"""Of a hundred requests."""

REPEATS = 40
TENTHS = 10


class Connection:
    """A connection that stays open, as a client's does."""

    def __init__(self, url: str, token: str) -> None:
        self._place = urlsplit(url)
        self._token = token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._place.hostname, self._place.port)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), await reader.readexactly(int(fields.get("content-length", 0)))

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()


def measure(*, full: bool) -> dict[str, Any]:
    """Return latencies by kind of request and memory under load, and latencies while the registry grows."""
    clients, seconds, sizes = (200, 300, (10, 100, 1000, 10_000)) if full else (200, 20, (10, 100, 1000))
    busy = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        loaded = measure_load(Path(folder), clients=clients, seconds=seconds)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure_growth(Path(folder), size) for size in sizes]
    machine = {"cores": os.cpu_count(), "load before": busy}
    return {"clients": clients, "seconds": seconds, **machine, **loaded, "growth": rows}


def measure_load(root: Path, *, clients: int, seconds: int) -> dict[str, Any]:
    """Return what many clients saw in some seconds, and the server's memory meanwhile."""
    registry = open_registry(Settings(root=root))
    token = new_token(registry)
    add_collections(registry, 100)
    registry.close()
    with serving(root) as (url, process):
        asyncio.run(publish_seed(url, token))
        seen: dict[str, list[float]] = {kind: [] for kind in MIX}
        errors: list[str] = []
        memory = asyncio.run(load(url, token, seen, errors, pid=process.pid, clients=clients, seconds=seconds))
    rows = [
        {
            "request": kind,
            "count": len(times),
            "median ms": round(1000 * float(np.median(times)), 1),
            "p99 ms": round(1000 * float(np.percentile(times, 99)), 1),
        }
        for kind, times in seen.items()
    ]
    return {"rows": rows, "errors": errors, "memory MB": memory}


async def load(
    url: str, token: str, seen: Mapping[str, list[float]], errors: list[str], *, pid: int, clients: int, seconds: int
) -> list[float]:
    """Let many clients work for a while; return the server's memory before, and after each tenth of the time."""
    end = time.monotonic() + seconds

    async def watch() -> list[float]:
        found = [resident_mb(pid)]
        for _ in range(TENTHS):
            await asyncio.sleep(seconds / TENTHS)
            found.append(resident_mb(pid))
        return found

    memory = asyncio.create_task(watch())
    await asyncio.gather(*(client(url, token, seen, errors, number=n, end=end) for n in range(clients)))
    return await memory


async def client(
    url: str, token: str, seen: Mapping[str, list[float]], errors: list[str], *, number: int, end: float
) -> None:
    """Ask for one thing after the other."""
    choose = random.Random(number)  # noqa: S311  Nothing secret.
    connection = Connection(url, token)
    await asyncio.sleep(choose.uniform(0, THINK_S[1]))
    while time.monotonic() < end:
        kind = choose.choices(list(MIX), list(MIX.values()))[0]
        method, path, body = request(kind, choose, number)
        started = time.perf_counter()
        status, _ = await connection.call(method, path, body)
        seen[kind].append(time.perf_counter() - started)
        if status != 200:
            errors.append(f"{kind}: {status}")
        await asyncio.sleep(choose.uniform(*THINK_S))
    connection.close()


def request(kind: str, choose: random.Random, number: int) -> tuple[str, str, bytes]:
    """Return method, path and body of a request."""
    place = f"bench/net-{choose.randrange(100)}"
    paths = {
        "search": f"/api/models?filter=modhub&filter=class:c{choose.randrange(20)}&limit=20",
        "info": f"/api/models/{place}?blobs=true",
        "index": "/bench/seed/resolve/main/modhub.json",
        "download": f"/bench/seed/resolve/main/{choose.choice(('cat', 'dog', 'ship'))}/1.0.0/delta.safetensors",
    }
    if kind in paths:
        return "GET", paths[kind], b""
    data = {f"notes/{number}.txt": choose.randbytes(2000)}
    return "POST", f"/api/models/{place}/commit/main", commit_body(data)


def measure_growth(root: Path, size: int) -> dict[str, Any]:
    """Return median latencies of one client, once the registry holds so many collections."""
    registry = open_registry(Settings(root=root))
    token = new_token(registry)
    with registry.database.reading() as connection:
        there = repos.count(connection)
    add_collections(registry, size, start=there)
    registry.close()
    with serving(root) as (url, process):
        times = asyncio.run(one_client(url, token))
        memory = resident_mb(process.pid)
    return {"collections": size, "releases": size * RELEASES, **times, "memory MB": memory}


async def one_client(url: str, token: str) -> dict[str, float]:
    """Return median milliseconds of each kind of request."""
    connection, choose = Connection(url, token), random.Random(0)  # noqa: S311  Nothing secret.
    found = {}
    for kind, path in {
        "newest ms": "/api/models?limit=20",
        "by class ms": "/api/models?filter=modhub&filter=class:c7&limit=20",
        "by word ms": "/api/models?search=net-7&limit=20",
        "info ms": "/api/models/bench/net-7?blobs=true",
    }.items():
        found[kind] = await median_ms(connection, lambda path=path: ("GET", path, b""))
    place = "/api/models/bench/net-7/commit/main"
    made = await median_ms(connection, lambda: ("POST", place, commit_body({"notes/x.txt": choose.randbytes(2000)})))
    found["commit ms"] = made
    connection.close()
    return found


async def median_ms(connection: Connection, make: Any) -> float:
    """Return the median time of a request, made anew each time."""
    times = []
    for _ in range(REPEATS):
        method, path, body = make()
        started = time.perf_counter()
        status, _ = await connection.call(method, path, body)
        times.append(time.perf_counter() - started)
        if status != 200:
            raise AssertionError(f"{method} {path}: {status}")
    return round(1000 * float(np.median(times)), 2)


async def publish_seed(url: str, token: str) -> None:
    """Publish the collection that ships with modhub."""
    files = {str(path.relative_to(SEED)): path.read_bytes() for path in SEED.rglob("*") if path.is_file()}
    connection = Connection(url, token)
    for method, path, body in (
        ("POST", "/api/repos/create", json.dumps({"name": "seed", "organization": "bench"}).encode()),
        ("POST", "/api/models/bench/seed/commit/main", commit_body(files)),
    ):
        status, answer = await connection.call(method, path, body)
        if status != 200:
            raise AssertionError(answer)
    connection.close()


def commit_body(files: Mapping[str, bytes]) -> bytes:
    """Return the lines of a commit."""
    lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": "x", "description": ""}}]
    for path, data in files.items():
        content = base64.b64encode(data).decode()
        lines.append({"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def add_collections(registry: Registry, count: int, *, start: int = 0) -> None:
    """Make collections of ten releases each, by the server's own storage but in one transaction."""
    with registry.database.writing() as connection:
        for number in range(start, count):
            new: dict[str, str] = {}
            incoming = registry.blobs.incoming(0)
            blob = registry.blobs.keep(incoming)
            name = CollectionId("bench", f"net-{number}")
            file = File(sha256=blob.sha256, size=0, oid=blob.oid, lfs=False)
            paths = {f"c{k}/1.0.{number}/module.json": file for k in range(RELEASES)}
            tree = registry.trees.changed(connection, empty_tree(new), paths, new=new)
            registry.trees.store(connection, new)
            id = repos.create(connection, name, kind="model", private=False, sha="")
            commit = history.new_commit(parent=None, repo_id=id, tree=tree, title="x", message="", author="bench")
            history.write_commit(connection, commit)
            history.add_ref(connection, id, history.Ref(kind="branch", name="main", commit_id=commit.id))
            repo = repos.find(connection, "model", "bench", name.name)
            classes = [f"class:c{(number + k) % 20}" for k in range(RELEASES)]
            repos.describe(connection, repo, sha=commit.id, tags=["modhub", *classes], card={"library_name": "modhub"})


def new_token(registry: Registry) -> str:
    """Return a token that may do everything."""
    with registry.database.writing() as connection:
        return tokens.create(connection, user="bench", scope="admin")[0]


@contextmanager
def serving(root: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `modhub serve` while the block runs."""
    command = [sys.executable, "-c", START, "serve", str(root), "--port", "0", "--json", "--rate-limit", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if process.stdout is None:
        raise AssertionError("started with a pipe")
    told = ""
    for line in process.stdout:
        told += line
        if line == "}\n":
            break
    try:
        yield json.loads(told)["url"], process
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def resident_mb(pid: int) -> float:
    """Return the memory of a process, in MB."""
    return round(held_kib(process=pid) / 1000, 1)
