"""D4, D5: clients that send slowly, for ever, or something else than they announced."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import select
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from modhub_registry.deadlines import BODY_SECONDS, HEAD_SECONDS
from tests.server.process import process
from tests.support.figures import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server.process import Process
    from tests.server.service import Service
    from tests.support.figures import Figures

pytestmark = pytest.mark.slow

MIB = 1 << 20
HEADS, BODIES = size(400, 1_000), size(50, 200)
CLOSED_AFTER_S = 30.0
MEMORY = 50 * MIB
ANSWERED_S = 1.0
BUSY = 5
"""A machine that runs many things at once may take so many times as long."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server in a process of its own, with a repository."""
    with process(tmp_path_factory.mktemp("registry")) as found:
        found.service.api().create_repo("alice/pets")
        yield found


def memory_of(server: Process) -> int:
    """Return the bytes of memory that a server holds."""
    status = Path(f"/proc/{server.running.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def connect(service: Service) -> socket.socket:
    """Return a connection to a server."""
    parts = urlsplit(service.url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60)


def test_who_sends_slowly_is_not_waited_for(server: Process, figures: Figures) -> None:
    service = server.service
    for _ in range(20):
        service.call("GET", "/healthz")
    before = memory_of(server)
    token = service.token("alice")
    began = time.monotonic()
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(service)) for _ in range(HEADS + BODIES + 2)]
        for each in slow[:HEADS]:
            each.sendall(b"GET /api/models HTTP/1.1\r\nHost: x\r\nX-Half: ")
        head = f"POST /api/models/alice/pets/commit/main HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        for each in slow[HEADS : HEADS + BODIES]:
            each.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + b"x" * 100)
        dripping = slow[-2:]
        dripping[0].sendall(b"GET / HTTP/1.1\r\n")
        dripping[1].sendall(f"{head}Content-Length: 100000\r\n\r\n".encode())
        open_ones, slowest, grown, ticks = set(slow), 0.0, 0, 0
        while open_ones and time.monotonic() - began < BUSY * CLOSED_AFTER_S:
            for each in dripping:
                with suppress(OSError):
                    each.send(b"x")
            asked = time.monotonic()
            assert service.call("GET", "/healthz").status == 200
            slowest = max(slowest, time.monotonic() - asked)
            grown = max(grown, memory_of(server) - before)
            closed, _, _ = select.select(list(open_ones), [], [], 0)
            open_ones -= {each for each in closed if is_closed(each)}
            ticks += 1
            time.sleep(0.5)
        took = time.monotonic() - began
    assert not open_ones
    assert took < CLOSED_AFTER_S if slowest < ANSWERED_S else took < BUSY * CLOSED_AFTER_S
    assert slowest < BUSY * ANSWERED_S
    assert grown < MEMORY
    assert took > min(HEAD_SECONDS, BODY_SECONDS)
    figures.tell(
        "D4",
        f"{HEADS} half heads, {BODIES} stalled bodies, 1 byte a tick",
        all_closed_after_s=took,
        slowest_other_answer_s=slowest,
        memory_grew_by_MB=grown / MIB,
    )


def is_closed(connection: socket.socket) -> bool:
    """Tell whether the other side has closed a connection that has something to read."""
    try:
        while data := connection.recv(1 << 16):
            assert data
        return True
    except OSError:
        return True


def raw(service: Service, *pieces: bytes, timeout: float = 60) -> bytes:
    """Send bytes as they are and return the beginning of the answer; empty where the connection was closed."""
    with connect(service) as connection:
        connection.settimeout(timeout)
        try:
            for piece in pieces:
                connection.sendall(piece)
            return connection.recv(1 << 16)
        except (ConnectionError, BrokenPipeError):
            with suppress(OSError):
                return connection.recv(1 << 16)
            return b""


def status_of(answer: bytes) -> int:
    """Return the status of an answer, 0 for a closed connection."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def link(service: Service, data: bytes, announced: int) -> str:
    """Return the path by which a content of an announced size may be sent."""
    objects = [{"oid": hashlib.sha256(data).hexdigest(), "size": announced}]
    body = {"operation": "upload", "transfers": ["basic"], "objects": objects}
    answer = service.call("POST", "/alice/pets.git/info/lfs/objects/batch", body, user="alice")
    found: str = answer.json()["objects"][0]["actions"]["upload"]["href"]
    return found.removeprefix(service.url)


def lies(service: Service) -> dict[str, Callable[[], int]]:
    """Return what is sent by name; each returns the status of the answer, 0 where there was none."""
    data = os.urandom(100_000)
    token = service.token("alice")
    commit = (
        f"POST /api/models/alice/pets/commit/main HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()
    )
    create = f"POST /api/repos/create HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()

    def put(sent: bytes, *, announced: int = len(data), of: bytes = data) -> Callable[[], int]:
        return lambda: service.call("PUT", link(service, of, announced), sent).status

    def chunked_for_ever() -> int:
        path = link(service, data, len(data))
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        return status_of(raw(service, head, *[chunk] * 2000))

    def first_line(value: object) -> bytes:
        return json.dumps({"key": "header", "value": value}).encode() + b"\n"

    def post(path: str, body: bytes) -> Callable[[], int]:
        return lambda: service.call("POST", path, body, user="alice").status

    return {
        "longer": put(data + b"x"),
        "much longer": put(data + bytes(2 * MIB)),
        "shorter": put(data[:-1]),
        "empty": put(b""),
        "another content": put(os.urandom(len(data))),
        "another size announced": put(data, announced=len(data) + 1),
        "10 GB announced, and gone": lambda: status_of(
            raw(
                service,
                f"PUT {link(service, data, 10 << 30)} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode(),
                data[:9],
            )
        ),
        "10 GB in the head": lambda: status_of(
            raw(service, create + b"Content-Length: 10737418240\r\n\r\n", bytes(8 * MIB))
        ),
        "chunks without end": chunked_for_ever,
        "a negative length": lambda: status_of(raw(service, create + b"Content-Length: -1\r\n\r\n{}")),
        "a length in words": lambda: status_of(raw(service, create + b"Content-Length: ten\r\n\r\n{}")),
        "two lengths": lambda: status_of(raw(service, create + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}")),
        "a length and chunks": lambda: status_of(
            raw(service, create + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        ),
        "200,000 lines of head": lambda: status_of(
            raw(service, b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 200_000, timeout=20)
        ),
        "a line of 10 MB": lambda: status_of(raw(service, b"GET /" + b"a" * (10 * MIB), timeout=20)),
        "20 MB of JSON": post("/api/repos/create", b'{"name": "' + b"x" * (20 * MIB) + b'"}'),
        "brackets": post("/api/repos/create", b"[" * 100_000),
        "a file that is no base64": post(
            "/api/models/alice/pets/commit/main",
            first_line({"summary": "x"})
            + json.dumps({"key": "file", "value": {"path": "a", "content": "*", "encoding": "base64"}}).encode(),
        ),
        "a file that was never sent": post(
            "/api/models/alice/pets/commit/main",
            first_line({"summary": "x"})
            + json.dumps({"key": "lfsFile", "value": {"path": "a", "oid": "0" * 64, "size": 9}}).encode(),
        ),
        "a body that breaks off": lambda: status_of(broken_off(service, commit)),
    }


def broken_off(service: Service, commit: bytes) -> bytes:
    """Send a part of a commit and hang up."""
    with connect(service) as connection:
        connection.sendall(commit + b"Content-Length: 1000000\r\n\r\n" + b'{"key": "header", "value": {}}\n' * 100)
    return b""


def kept(server: Process) -> set[str]:
    """Return the files that a server keeps, without its database."""
    folder = server.service.registry.settings.root / "blobs"
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def test_an_upload_that_lies_leaves_nothing(server: Process, figures: Figures) -> None:
    service = server.service
    sha = service.call("GET", "/api/models/alice/pets").json()["sha"]
    files, before, most = kept(server), memory_of(server), 0
    statuses: dict[str, Any] = {}
    for name, lie in lies(service).items():
        statuses[name] = lie()
        assert statuses[name] == 0 or 400 <= statuses[name] < 500, (name, statuses[name])
        most = max(most, memory_of(server) - before)
        assert service.call("GET", "/healthz").status == 200, name
    deadline = time.monotonic() + 60
    while kept(server) != files and time.monotonic() < deadline:
        time.sleep(0.2)
    assert kept(server) == files
    assert service.call("GET", "/api/models/alice/pets").json()["sha"] == sha
    assert most < 1 << 30
    figures.tell(
        "D5",
        "lying uploads",
        cases=len(statuses),
        refused=sum(400 <= status < 500 for status in statuses.values()),
        hung_up_on=sum(status == 0 for status in statuses.values()),
        left_behind=0,
        memory_grew_by_MB=most / MIB,
    )


def test_a_head_that_comes_in_pieces_is_taken(server: Process) -> None:
    """The deadlines are for those who stop, not for those who are slow by nature."""
    with connect(server.service) as connection:
        for piece in (b"GET /hea", b"lthz HTTP/1.1\r\nHo", b"st: x\r\n", b"\r\n"):
            connection.sendall(piece)
            time.sleep(0.3)
        assert status_of(connection.recv(1000)) == 200
    with suppress(http.client.HTTPException):
        assert server.service.call("GET", "/healthz").status == 200
