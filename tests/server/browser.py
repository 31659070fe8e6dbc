"""Chromium without a window, told what to do through a pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from tests.support.needed import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIET = """--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync
    --disable-component-update --disable-dev-shm-usage --remote-debugging-pipe""".split()
PATIENCE_S = 40.0


class Browser:
    """A page that is open, and what it said to its console."""

    def __init__(self, orders: IO[bytes], answers: IO[bytes]) -> None:
        self._orders, self._answers = orders, answers
        self._number, self._session = 0, ""
        self.said: list[str] = []

    def open(self, url: str) -> None:
        """Open a page."""
        target = self.order("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Page", "Runtime", "Log", "DOM"):
            self.order(f"{part}.enable")
        self.order("Page.navigate", url=url)

    def order(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to an order; what else the browser tells is kept where it is a complaint."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._orders.write(json.dumps(message).encode() + b"\0")
        self._orders.flush()
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found
                result: dict[str, Any] = found["result"]
                return result
            if found.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}:
                self.said.append(json.dumps(found["params"]))

    def value(self, expression: str) -> Any:
        """Return what an expression gives on the page."""
        return self.order("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return what an expression gives once it gives something."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = self.value(expression)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{expression} stays empty; the page says {self.value('document.body.innerText')!r}")

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file in a field."""
        root = self.order("DOM.getDocument")["root"]["nodeId"]
        field = self.order("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.order("DOM.setFileInputFiles", nodeId=field, files=[str(file)])

    def _next(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser has gone"
            data += byte
        found: dict[str, Any] = json.loads(data)
        return found


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Run Chromium while the block runs; skip the test, and say so, where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        lacking("chromium", "there is neither chromium nor google-chrome on the path")
    orders_out, orders_in = os.pipe()
    answers_out, answers_in = os.pipe()
    # It reads orders from the third file and writes to the fourth.
    script = f'exec "$0" "$@" 3<&{orders_out} 4>&{answers_in}'
    running = subprocess.Popen(
        ["/bin/bash", "-c", script, str(program), *QUIET, f"--user-data-dir={folder}"],
        pass_fds=(orders_out, answers_in),
        stderr=subprocess.DEVNULL,
    )
    os.close(orders_out)
    os.close(answers_in)
    with os.fdopen(orders_in, "wb") as orders, os.fdopen(answers_out, "rb") as answers:
        found = Browser(orders, answers)
        try:
            yield found
            found._session = ""
            found.order("Browser.close")
        finally:
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
