"""A proxy between a client and a server that does to requests what networks do."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDLESS = bytes(64 << 10)
HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


@dataclass
class Fault:
    """What happens to one request.

    Args:
        status: answered without asking the server.
        headers: of that answer; or, on the way back, instead of the server's.
        cut_after: bytes of the body after which the connection breaks.
        flip: the body comes with one bit changed.
        flip_at: which byte of it that is.
        body: comes instead of what the server says, or with the status.
        length: is announced instead of the length that the body has.
        endless: the body never ends.
        drip_s: seconds between one byte and the next.
        lose_answer: the server does its work, and its answer never comes.
        drop_range: the server never hears that a part was asked for.
        then: called once the server has answered, before its answer goes on.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    flip: bool = False
    flip_at: int = 0
    body: bytes | None = None
    length: int | None = None
    endless: bool = False
    drip_s: float = 0.0
    lose_answer: bool = False
    drop_range: bool = False
    then: Callable[[], None] | None = None


@dataclass
class Proxy:
    """A proxy at work.

    Args:
        rule: says for a method and a path with its query what happens; None for nothing.
        asked: the requests so far, each with its headers.
        sent: bytes of bodies sent to clients.
    """

    url: str
    rule: Callable[[str, str], Fault | None]
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0

    def count(self, method: str, part: str) -> int:
        """Return how many requests there were of a method with a part in their path."""
        return sum(each[0] == method and part in each[1] for each in self.asked)


def first(count: int, method: str, part: str, fault: Fault) -> Callable[[str, str], Fault | None]:
    """Return a rule: the first so many requests of a kind fail."""
    left = [count]

    def rule(found: str, path: str) -> Fault | None:
        if found != method or part not in path or not left[0]:
            return None
        left[0] -= 1
        return fault

    return rule


@contextmanager
def proxied(upstream: str, rule: Callable[[str, str], Fault | None] = lambda *_: None) -> Iterator[Proxy]:
    """Run a proxy in front of a server while the block runs."""
    proxy = Proxy("", rule)
    handler = type("Handler", (_Handler,), {"proxy": proxy, "upstream": urlsplit(upstream).netloc})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    upstream: str
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        """Pass a request on and its answer back, as the rule says."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        self.proxy.asked.append((self.command, self.path, {k.lower(): v for k, v in headers.items()}))
        fault = self.proxy.rule(self.command, self.path) or Fault()
        if fault.status is not None:
            body = fault.body or b""
            self._answer(fault.status, {**fault.headers, "Content-Length": str(len(body))}, body, fault)
            return
        if fault.drop_range:
            headers.pop("Range", None)
        # The server makes its links from the name it was asked by.
        headers["Host"] = self.headers["Host"]
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            # What will be cut off is not even asked for.
            data = answer.read(fault.cut_after)
        finally:
            connection.close()
        if fault.then is not None:
            fault.then()
        if fault.lose_answer:
            self.close_connection = True
            return
        if fault.body is not None:
            data = fault.body
        found = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
        is_whole = self.command != "HEAD" and (fault.cut_after is None or fault.body is not None)
        length = str(len(data)) if is_whole else answer.getheader("Content-Length")
        self._answer(answer.status, {**found, **fault.headers, "Content-Length": length or "0"}, data, fault)

    def _answer(self, status: int, headers: dict[str, str], data: bytes, fault: Fault) -> None:
        if fault.flip and data:
            place = fault.flip_at % len(data)
            data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        if fault.length is not None:
            headers["Content-Length"] = str(fault.length)
            self.close_connection = True
        if fault.endless:
            headers.pop("Content-Length", None)
            self.close_connection = True
        if fault.cut_after is not None:
            data, self.close_connection = data[: fault.cut_after], True
        with suppress(OSError):
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self._write(data, fault)
                self.proxy.sent += len(data)
                while fault.endless:
                    self.wfile.write(ENDLESS)
                    self.proxy.sent += len(ENDLESS)

    def _write(self, data: bytes, fault: Fault) -> None:
        if not fault.drip_s:
            self.wfile.write(data)
            return
        for byte in data:
            self.wfile.write(bytes([byte]))
            time.sleep(fault.drip_s)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  Names of the library.
