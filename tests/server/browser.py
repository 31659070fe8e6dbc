"""Chromium without a window, told what to do through a pipe, and what it needs from npm."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from tests.support.needed import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


QUIET = """--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync
    --disable-component-update --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe""".split()
PATIENCE_S = 60.0
CHUNK = 1 << 16
COMPLAINTS = frozenset({"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"})
DESKTOP, PHONE = 1280, 390
AXE = ("axe-core", "4.10.3")


class Browser:
    """A page that is open, and what it said to its console."""

    def __init__(self, orders: IO[bytes], answers: int) -> None:
        self._orders, self._answers = orders, answers
        self._number, self._session, self._target = 0, "", ""
        self._read = bytearray()
        self.said: list[str] = []

    def open(self, url: str, *, wide: int = DESKTOP, dark: bool = False, scripts: bool = True) -> None:
        """Open a page in place of the one before, and wait until it is there.

        Args:
            wide: pixels; fewer than 500 are a telephone's.
            dark: whether the reader prefers dark pages.
            scripts: whether the page may run any.
        """
        if self._session:
            self.order("Page.close")
            self._session = ""
        self._target = self.order("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.order("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for part in ("Page", "Runtime", "Log", "DOM"):
            self.order(f"{part}.enable")
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        # What moves is not to be caught while it does.
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.order("Emulation.setEmulatedMedia", features=[theme, still])
        self.order("Emulation.setDeviceMetricsOverride", width=wide, height=800, deviceScaleFactor=1, mobile=wide < 500)
        self.order("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.order("Page.navigate", url=url)
        self.wait(f"location.href != 'about:blank' && document.readyState == 'complete' && {json.dumps(url)}")

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
            if found.get("method") in COMPLAINTS:
                self.said.append(json.dumps(found["params"]))

    def value(self, expression: str) -> Any:
        """Return what an expression gives on the page, or what it promises."""
        answer = self.order("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return what an expression gives once it gives something."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = self.value(expression)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{expression} stays empty; the page says {self.value('document.body.innerText')!r}")

    def click(self, selector: str) -> None:
        """Press something that is on the page."""
        self.wait(f"document.querySelector({json.dumps(selector)})?.click() || true")

    def draw(self, selector: str, points: Sequence[tuple[float, float]]) -> None:
        """Draw a line by mouse, through points from (0, 0) to (1, 1) of a field."""
        field = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{field}.scrollIntoView()")
        left, top, wide, high = self.value(f"(b => [b.x, b.y, b.width, b.height])({field}.getBoundingClientRect())")
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 2), "mouseReleased"]
        for kind, (x, y) in zip(kinds, points, strict=True):
            place = {"x": left + x * wide, "y": top + y * high}
            self.order("Input.dispatchMouseEvent", type=kind, **place, button="left", buttons=1, clickCount=1)

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file in a field."""
        root = self.order("DOM.getDocument")["root"]["nodeId"]
        field = self.order("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.order("DOM.setFileInputFiles", nodeId=field, files=[str(file)])

    def downloads_to(self, folder: Path) -> None:
        """Keep what is downloaded from now on."""
        self.order("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def picture(self, *, high: int = 0) -> bytes:
        """Return the page as PNG: all of it, or so many pixels of its height."""
        size = self.order("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": high or size["height"], "scale": 1}
        found = self.order("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(found["data"])

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        self.order("Browser.close")

    def _next(self) -> dict[str, Any]:
        while (end := self._read.find(b"\0")) < 0:
            data = os.read(self._answers, CHUNK)
            assert data, "the browser has gone"
            self._read += data
        found: dict[str, Any] = json.loads(self._read[:end])
        del self._read[: end + 1]
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
    try:
        with os.fdopen(orders_in, "wb") as orders:
            found = Browser(orders, answers_out)
            yield found
            found.close()
    finally:
        os.close(answers_out)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
