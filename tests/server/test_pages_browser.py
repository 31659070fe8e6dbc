"""The catalogue in a real browser: every page in both themes and two sizes, by mouse and keys, with models that run."""

from __future__ import annotations

import base64
import io
import json
import shutil
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image

from modhub.cli.main import cli
from modhub.datasets.samples import read_sample_dataset
from modhub_registry.pages.try_page import WEB_FOLDER
from modhub_registry.settings import Limits
from tests.server.browser import AXE, DESKTOP, PHONE, browser
from tests.server.published import PLACE, SEEDED, collection_files, digit_packages, publish, seed_files
from tests.server.service import served
from tests.support.npm import from_npm, onnxruntime_web

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.browser import Browser
    from tests.server.service import Service

LIMITS = Limits(requests_per_minute=0)
COMPOSE, TRY = "/catalog/compose", "/catalog/try"
PAGES = (
    "/",
    PLACE,
    f"{PLACE}/cat",
    COMPOSE,
    f"{COMPOSE}?class=cat&class=zebra",
    f"/catalog/compare?m={SEEDED}/cat&m={SEEDED}/dog",
    "/catalog/guide",
    "/catalog/api",
    f"{TRY}?m=mia/digits/one",
)
READY = "/Ready|cannot|Careful/.test(state.textContent) && state.textContent"
SCORES = "[...document.querySelectorAll('#scores tbody tr')].map(r => [r.cells[0].innerText, +r.cells[3].textContent])"
BARS = "[...document.querySelectorAll('#scores .kept')].map(bar => parseFloat(bar.getAttribute('width')))"
FOUND = "[...document.querySelectorAll('#modules ~ .scroll tbody th a')].map(a => a.innerText)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Service]:
    """A registry with two collections that lends readers what runs models."""
    runtime = onnxruntime_web(pytestconfig)
    root = tmp_path_factory.mktemp("site")
    with served(root, limits=LIMITS) as service:
        publish(service, SEEDED, seed_files())
        publish(service, "mia/digits", collection_files(digit_packages()))
        shutil.copytree(runtime, root / WEB_FOLDER)
        yield service


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def silent(chrome: Browser) -> Iterator[Browser]:
    """The browser; nothing may be written to its console, so no error and nothing that the policy refused."""
    chrome.said.clear()
    yield chrome
    assert not chrome.said


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_for_everybody_in_both_themes_and_sizes(
    site: Service, silent: Browser, pytestconfig: pytest.Config, path: str
) -> None:
    axe = (from_npm(pytestconfig, AXE, ["axe.min.js"]) / "axe.min.js").read_text("utf-8")
    for wide, dark in ((DESKTOP, False), (PHONE, True)):
        silent.open(f"{site.url}{path}", wide=wide, dark=dark)
        if path.startswith(TRY):
            assert "Ready" in silent.wait(READY)
        # Nothing is wider than the screen, and the style sheet is there.
        assert silent.value("document.documentElement.scrollWidth") == wide
        ink = silent.value("getComputedStyle(document.body).color")
        assert ink == ("rgb(231, 234, 239)" if dark else "rgb(27, 32, 40)")
        silent.value(f"{axe};0")
        problems = silent.value(
            "axe.run().then(r => r.violations.map(v => `${v.id}: ${v.help}: ${v.nodes.map(n => n.html).join()}`))"
        )
        assert problems == []


def test_pages_are_read_without_scripts(site: Service, silent: Browser) -> None:
    silent.open(f"{site.url}{PLACE}/cat", scripts=False)
    text = silent.value("document.body.innerText")
    assert "What it keeps of its parent" in text
    assert "modhub install" in text
    assert silent.value("document.querySelectorAll('button.copy').length") == 0
    silent.open(f"{site.url}{COMPOSE}", scripts=False)
    silent.value("document.querySelector('input[value=ship]').checked = true")
    silent.value("document.querySelector('#choose').submit()")
    assert "They fit together" in silent.wait("location.hash && document.getElementById('result')?.innerText")


def test_modules_are_found_by_words_and_facets(site: Service, silent: Browser) -> None:
    silent.open(f"{site.url}/")
    silent.value("document.getElementById('q').focus()")
    silent.order("Input.insertText", text="cat")
    for kind in ("keyDown", "keyUp"):
        silent.order(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    silent.wait("location.search.includes('q=cat') && document.readyState == 'complete'")
    assert silent.value(FOUND) == ["cat"]
    silent.open(f"{site.url}/")
    assert silent.value("license.options[1].text").startswith("BSD-2-Clause (1")
    silent.value("license.value = 'BSD-2-Clause'; min_f1.value = '0.9'")
    silent.click(".ask button")
    silent.wait("location.search.includes('min_f1') && document.readyState == 'complete'")
    assert silent.value(FOUND) == ["ship"]
    assert silent.value("min_f1.value") == "0.9"


def test_pages_are_used_by_keys_alone(site: Service, silent: Browser) -> None:
    silent.open(f"{site.url}{PLACE}/cat")
    press(silent, "Tab")
    assert silent.value("document.activeElement.className") == "skip"
    assert silent.value("document.activeElement.getBoundingClientRect().left >= 0")
    press(silent, "Enter")
    assert silent.value("document.activeElement.id") == "content"
    press(silent, "Tab", times=2)
    assert silent.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert silent.value("document.querySelectorAll('button.copy').length") == 3


def press(found: Browser, key: str, *, times: int = 1) -> None:
    code = {"Tab": 9, "Enter": 13}[key]
    text = {"text": "\r"} if key == "Enter" else {}
    for _ in range(times):
        found.order("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        found.order("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)


def test_what_is_ticked_is_resolved_at_once_composed_downloaded_and_runs(
    site: Service, silent: Browser, tmp_path: Path
) -> None:
    silent.open(f"{site.url}{COMPOSE}")
    silent.click("input[value=ship]")
    silent.click(f'input[value="{SEEDED}/cat"]')
    assert "2 scores" in silent.wait("live.textContent.includes('fit together') && live.textContent")
    shown = silent.value("outcome.innerText").replace("\u00a0", " ")
    for said in (
        "in this order: ship, cat",
        "1.1 MB",
        "1.1 MB",
        "the whole parent takes 40.8 million",
        "BSD-2-Clause",
    ):
        assert said in shown, said
    assert f"modhub compose class:ship {SEEDED}/cat -r {site.url} -o model" in shown
    assert silent.value("location.search") == f"?class=ship&m={SEEDED.replace('/', '%2F')}%2Fcat"
    silent.downloads_to(tmp_path)
    silent.click("#outcome button[type=submit]")
    (archive,) = wait_for(tmp_path, "*.zip", silent)
    with zipfile.ZipFile(archive) as files:
        files.extractall(tmp_path)
    image = image_file(tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model" / "model.onnx", providers=["CPUExecutionProvider"])
    pixels = np.asarray(Image.open(image), np.float32).transpose(2, 0, 1)[None] / 255
    scores = session.run(None, {"image": pixels})[0][0]
    assert scored(tmp_path / "model", image) == pytest.approx({"ship": scores[0], "cat": scores[1]}, abs=1e-5)


def wait_for(folder: Path, pattern: str, found: Browser) -> list[Path]:
    for _ in range(400):
        files = list(folder.glob(pattern))
        if files:
            return files
        found.value("new Promise(resolve => setTimeout(resolve, 100))")
    raise AssertionError(f"nothing like {pattern} came")


def image_file(folder: Path) -> Path:
    """Write an image of a cat."""
    sample = read_sample_dataset("cifar10-test")
    cat = int(np.flatnonzero(sample.y == 3)[0])
    file = folder / "image.png"
    Image.fromarray((sample.x[cat].transpose(1, 2, 0) * 255).round().astype(np.uint8)).save(file)
    return file


def scored(model: Path, image: Path) -> dict[str, float]:
    """Return what `modhub run` says."""
    done = CliRunner().invoke(cli, ["run", str(model), str(image), "--json"], obj={}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return {each["class"]: each["score"] for each in json.loads(done.stdout)[0]["scores"]}


def test_an_image_is_scored_in_the_browser_as_by_the_command(site: Service, silent: Browser, tmp_path: Path) -> None:
    query = f"?class=ship&m={SEEDED}/cat&m={SEEDED}/dog"
    archive = site.call("GET", f"{COMPOSE}.zip{query}")
    (tmp_path / "model.zip").write_bytes(archive.body)
    with zipfile.ZipFile(tmp_path / "model.zip") as files:
        files.extractall(tmp_path)
    image = image_file(tmp_path)
    wanted = scored(tmp_path / "model", image)
    silent.open(f"{site.url}{TRY}{query}")
    assert "gives the scores" in silent.wait(READY)
    assert silent.value("drawing.hidden")
    silent.choose("#file", image)
    shown = silent.wait(f"({SCORES}).length && {SCORES}")
    assert dict(shown) == pytest.approx(wanted, abs=1e-3)
    assert [name for name, _ in shown] == sorted(wanted, key=lambda name: -wanted[name])
    likely = [100 / (1 + np.exp(-score)) for _, score in shown]
    assert silent.value(BARS) == pytest.approx(likely, abs=0.02)
    # What is no image is said to be none.
    (tmp_path / "other.png").write_bytes(b"no image")
    silent.choose("#file", tmp_path / "other.png")
    silent.wait("state.textContent.includes('no image that the browser reads')")


def test_a_digit_is_drawn_and_scored_as_the_picture_of_it(site: Service, silent: Browser, tmp_path: Path) -> None:
    query = "?m=mia/digits/zero&m=mia/digits/one&m=mia/digits/two"
    silent.open(f"{site.url}{TRY}{query}", wide=PHONE)
    assert "Ready" in silent.wait(READY)
    silent.draw("#pad", [(0.3, 0.2), (0.6, 0.2), (0.6, 0.5), (0.3, 0.8), (0.7, 0.8)])
    drawn = silent.wait(f"({SCORES}).length && {SCORES}")
    # What the model saw, saved and scored by the command.
    address = silent.value("canvas.toDataURL('image/png')")
    image = tmp_path / "digit.png"
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as seen:
        assert seen.size == (28, 28)
        seen.convert("L").save(image)
    ink = np.asarray(Image.open(image), np.float64)
    rows, columns = np.nonzero(ink > 20)
    assert max(np.ptp(rows), np.ptp(columns)) == pytest.approx(20, abs=2)
    middle = [(np.arange(28) + 0.5) @ ink.sum(axis) / ink.sum() for axis in (0, 1)]
    assert middle == pytest.approx([14, 14], abs=0.5)
    archive = site.call("GET", f"{COMPOSE}.zip{query}")
    (tmp_path / "model.zip").write_bytes(archive.body)
    with zipfile.ZipFile(tmp_path / "model.zip") as files:
        files.extractall(tmp_path)
    assert dict(drawn) == pytest.approx(scored(tmp_path / "model", image), abs=1e-3)
    silent.click("#clear")
    assert silent.value("seen.hidden")
