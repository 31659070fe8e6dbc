"""Pictures and pages are valid files that stand alone, whatever classes are called."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from modhub import flow
from modhub.datasets import Dataset
from modhub.engines.evaluation import evaluate_network
from modhub.errors import MissingExtra, UsageError
from modhub.metrics import Scored
from modhub.package.pack import Release, pack
from modhub.report.curve import curve_of
from modhub.report.document import FORMAT, report_on
from modhub.report.figures.sheet import render
from modhub.report.figures.style import DARK_TEXT, LIGHT_FROM, LIGHT_TEXT, SHADES, Panel
from modhub.report.files import report_json, write_page
from modhub.report.kept import kept_of
from modhub.report.overlap import overlap_of
from modhub.report.pages import decomposition_page, evaluation_page
from modhub.report.pictures import kinds_of, need_plot, numbers, picture
from modhub.report.samples import data_address
from modhub.report.split import Split
from modhub.report.subject import Subject, subject_of_network
from tests.support.modules import random_decomposition, with_random_weights
from tests.support.networks import Builder
from tests.support.pets import CLASSES, pets_arrays, pets_network

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import SubFigure

    from modhub.network.modules import Decomposition
    from modhub.report.document import Report

HOSTILE = ("<script>alert()</script>", "$\\frac{1}", "a\nb\x07 'c' \"d\" {{7*7}} &", "猫 \u202e cat")
HISTORY = (
    {"step": "rung", "kept": 0.7, "accuracy": 0.9, "loss": float("nan")},
    {"step": "rung", "kept": 0.5, "accuracy": 0.85, "loss": 0.5},
)
VOID = {"meta", "img", "br", "hr", "input", "link"}


def measured(labels: tuple[str, ...] = CLASSES, *, weights: bool = False) -> Decomposition:
    """Return a decomposition with a history and scores on validation data."""
    network, random = pets_network(), np.random.default_rng(0)
    whole = random_decomposition(network, labels=labels)
    columns = np.arange(40) % len(labels)
    modules = [
        dataclasses.replace(m, validation=random.standard_normal(40).astype(np.float32) + 2 * (columns == i))
        for i, m in enumerate(whole.modules)
    ]
    if weights:
        modules = [with_random_weights(network, module, seed=i) for i, module in enumerate(modules)]
    return dataclasses.replace(whole, modules=tuple(modules), validation=columns, history=HISTORY)


def report(decomposition: Decomposition, labels: tuple[str, ...] = CLASSES) -> Report:
    """Return the report on a decomposition; packages have names that packages may have."""
    named = dataclasses.replace(
        decomposition,
        modules=tuple(
            dataclasses.replace(m, label=name) for m, name in zip(decomposition.modules, CLASSES, strict=True)
        ),
    )
    return dataclasses.replace(
        report_on(decomposition, pack(named, Release(labels=labels)), commands=("modhub decompose <x> && y",)),
    )


def subject(decomposition: Decomposition) -> Subject:
    """Return everything there is to draw of a decomposition."""
    split = Split.of(decomposition)
    kept = kept_of(split)
    curve = curve_of(HISTORY, parent=0.92, max_loss=1.0, kept=kept.mean_share, measure=kept.measure)
    return Subject(name="pets", sites=kept, overlap=overlap_of(split), curve=curve)


def images(labels: tuple[str, ...], *, name: str = "pets") -> Dataset:
    """Return images of pets under other names."""
    arrays = pets_arrays()
    return Dataset.of(arrays["x"], y=arrays["y"], classes=labels, name=name)


def shown(name: str) -> str:
    """Return a class as a page shows it."""
    return " ".join("".join(char if char.isprintable() else " " for char in name).split())


class Reader(HTMLParser):
    """Checks that tags are closed in order, and gathers texts, attributes and the names of elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(page: str) -> Reader:
    """Return a page as read, after checking that it is whole and needs nothing beside itself."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert "http://" not in page
    assert "https://" not in page
    assert not reader.seen & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for name, value in reader.attributes:
        assert not name.startswith("on"), name
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#")), value
    assert not re.search(r"url\((?!#)", page)
    return reader


@pytest.mark.parametrize("weights", [False, True], ids=["channels", "weights"])
def test_a_png_is_a_picture_with_something_on_it(weights: bool) -> None:  # noqa: FBT001
    found = subject(measured(weights=weights))
    image = Image.open(io.BytesIO(picture(found, kinds_of(found), format="png")))
    image.load()
    assert image.format == "PNG"
    colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 50
    assert max(colours)[1] == (255, 255, 255)


@pytest.mark.parametrize("labels", [CLASSES, HOSTILE], ids=["plain", "hostile"])
def test_an_svg_is_well_formed_and_bears_every_class(labels: tuple[str, ...]) -> None:
    found = subject(measured(labels))
    data = picture(found, kinds_of(found), format="svg")
    root = ET.fromstring(data)  # noqa: S314  Made by us.
    assert root.tag.endswith("svg")
    texts = "".join(root.itertext())
    for name in labels:
        assert shown(name) in texts
    assert data == picture(found, kinds_of(found), format="svg")


def test_digits_below_those_written_change_no_name_in_an_svg() -> None:
    def at(left: float) -> bytes:
        def draw(part: SubFigure) -> None:
            part.add_axes((left, 0.1, 0.5, 0.8)).plot([0, 1], [0, 1], marker="x")

        return render([Panel(title="a line", width=3, height=2, draw=draw)], format="svg")

    data = at(0.1)
    assert data == at(0.1 + 1e-15)
    names = re.findall(rb'\bid="([^"]*)"', data)
    assert len(set(names)) == len(names)
    meant = set(re.findall(rb'(?:href="#|url\(#)([^")]*)', data))
    assert meant
    assert meant <= set(names)


@pytest.mark.parametrize("labels", [CLASSES, HOSTILE], ids=["plain", "hostile"])
def test_a_page_of_pictures_stands_alone(labels: tuple[str, ...]) -> None:
    found = dataclasses.replace(subject(measured(labels)), name="<b>pets</b>")
    reader = read(picture(found, kinds_of(found), format="html").decode())
    assert "<b>pets</b>" in "".join(reader.texts)
    assert "svg" in reader.seen


@pytest.mark.parametrize("labels", [CLASSES, HOSTILE], ids=["plain", "hostile"])
def test_the_page_of_a_decomposition_tells_everything_and_stands_alone(labels: tuple[str, ...]) -> None:
    data = images(labels)
    whole = report(measured(labels), labels)
    page = decomposition_page(whole, data)
    texts = " ".join("".join(read(page).texts).split())
    for heading in (
        "Summary",
        "The modules",
        "What each module keeps, layer by layer",
        "Accuracy against size",
        "What modules have in common",
        "What is taken for what",
        "Are stated probabilities true?",
        "Some samples",
        "What was never cut, and why",
        "The same again",
    ):
        assert heading in texts
    assert "it is the output" in texts
    assert "modhub decompose <x> && y" in texts
    assert "prefers-color-scheme: dark" in page
    assert page.count("data:image/png") >= len(labels)
    for name in labels:
        assert shown(name) in texts


def test_the_page_of_an_evaluation_stands_alone() -> None:
    data = images(HOSTILE, name="<i>pets</i>")
    found = evaluate_network(pets_network(), data, columns=HOSTILE, calibrated=False, timed=False)
    texts = "".join(read(evaluation_page("<b>m</b>", found, data=data, source=data.name, commands=["a < b"])).texts)
    assert "<b>m</b>" in texts
    assert "<i>pets</i>" in texts
    assert "softmax" in texts
    for heading in ("Class by class", "What is taken for what", "Are stated probabilities true?", "Some samples"):
        assert heading in texts


def test_an_evaluation_shows_what_is_known_of_its_target() -> None:
    data, whole = images(CLASSES), subject(measured())
    found = evaluate_network(pets_network(), data, columns=CLASSES, calibrated=True, timed=False)
    kept = "".join(read(evaluation_page("pets", found, data=data, subject=whole)).texts)
    assert "What each module keeps" in kept
    assert "the weights that both keep" in kept
    shared = dataclasses.replace(whole, sites=subject_of_network(pets_network(), name="pets").sites)
    texts = "".join(read(evaluation_page("composite", found, data=data, subject=shared)).texts)
    assert "What each module keeps" not in texts
    assert "the weights that both are computed from" in texts


def test_numbers_can_be_read_on_cells_of_every_shade() -> None:
    shades = SHADES(np.linspace(0, 1, 101))[:, :3]
    for share, shade in zip(np.linspace(0, 1, 101), shades, strict=True):
        text = LIGHT_TEXT if share > LIGHT_FROM else DARK_TEXT
        assert contrast(shade, np.array(to_rgb(text))) > 3.9, share


def contrast(one: np.ndarray[tuple[int, ...], Any], other: np.ndarray[tuple[int, ...], Any]) -> float:
    """Return the contrast of two colours by WCAG, from 1 to 21."""
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in (one, other)]
    low, high = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in linear)
    return (high + 0.05) / (low + 0.05)


def test_a_single_module_is_evaluated_without_a_confusion_matrix() -> None:
    builder = Builder(shape=(4,))
    network = builder.build(builder.gemm(builder.input, 1))
    data = Dataset.of(np.random.default_rng(0).random((20, 4)), y=np.arange(20) % 2, classes=["no", "yes"])
    found = evaluate_network(network, data, columns=("yes",), calibrated=True, timed=False)
    texts = "".join(read(evaluation_page("one", found, data=data)).texts)
    assert "What is taken for what" not in texts
    assert "Are stated probabilities true?" in texts


def test_a_report_without_scores_or_history_is_still_a_page() -> None:
    bare = random_decomposition(pets_network(), labels=CLASSES)
    whole = report(bare)
    assert whole.scored is None
    texts = "".join(read(decomposition_page(whole)).texts)
    assert "What each module keeps" in texts
    assert "Accuracy against size" not in texts


def test_report_json_keeps_its_schema() -> None:
    whole = report(measured())
    (data,) = report_json(whole).values()
    document = json.loads(data)
    assert document["format"] == FORMAT
    assert list(document) == [
        "format", "parent", "cut", "accuracy", "history", "modules", "sites", "kept", "overlap", "curve", "confusion",
        "calibration", "commands",
    ]  # fmt: skip
    assert list(document["modules"][0]) == ["name", "version", "bytes", "metrics"]
    assert list(document["sites"][0]) == ["name", "site", "kind", "channels", "weights", "layers", "state", "pinned"]
    assert list(document["kept"]) == ["measure", "modules"]
    assert list(document["kept"]["modules"][0]) == ["class", "kernels_kept", "channels", "weights"]
    assert list(document["overlap"]) == ["of", "classes", "jaccard"]
    assert list(document["curve"]) == ["points", "parent", "max_loss", "measure"]
    assert list(document["curve"]["points"][0]) == ["kept", "accuracy", "chosen"]
    assert list(document["confusion"]) == ["classes", "counts"]
    assert list(document["calibration"]) == ["what", "bins", "error"]
    assert document["history"][0]["loss"] is None
    assert sum(map(sum, document["confusion"]["counts"])) == 40
    assert document["accuracy"]["n"] == 40


def test_the_report_of_the_packages_agrees_with_their_manifests() -> None:
    whole = report(measured())
    document = whole.to_dict()
    for package, kept in zip(whole.packages[1:], document["kept"]["modules"], strict=True):
        assert kept["kernels_kept"] == package.manifest.metrics["kernels_kept"].value


def test_a_hundred_classes_and_sixty_sites_are_drawn() -> None:
    builder = Builder(shape=(3, 2, 2))
    value = builder.input
    for _ in range(60):
        value = builder.relu(builder.conv(value, 4, kernel=1))
    network = builder.build(builder.gemm(builder.flatten(value), 100))
    found = subject(random_decomposition(network))
    data = picture(found, kinds_of(found), format="svg")
    texts = "".join(ET.fromstring(data).itertext())  # noqa: S314  Made by us.
    assert "class-99" in texts
    assert "conv 60" in texts
    sites = picture(subject_of_network(network, name="deep"), ["sites"], format="png")
    assert Image.open(io.BytesIO(sites)).height > 1000


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    before = dict(mpl.rcParams)
    found = subject(measured())
    picture(found, ["overlap"], format="svg")
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in _modules_loaded_by_drawing()


def _modules_loaded_by_drawing() -> list[str]:
    program = (
        "import json, sys\n"
        "from modhub.report.pages import pictures_page\n"
        "from modhub.report.figures.sheet import render\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded: list[str] = json.loads(done.stdout)
    return loaded


def test_numbers_are_those_that_are_drawn() -> None:
    found = subject(measured())
    values = json.loads(json.dumps(numbers(found, ["kept", "overlap", "curve", "sites"])))
    assert values["kept"] == json.loads(json.dumps(found.sites.to_dict()))
    assert values["overlap"]["classes"] == list(CLASSES)
    assert [point["chosen"] for point in values["curve"]["points"]].count(True) == 1
    assert [site["pinned"] for site in values["sites"]] == [None, None, "it is the output"]


def test_what_a_target_has_no_picture_of_is_said() -> None:
    alone = subject_of_network(pets_network(), name="pets")
    assert kinds_of(alone) == ["sites"]
    for kind in ("kept", "overlap", "curve"):
        with pytest.raises(UsageError, match=f"pets has no picture of kind '{kind}'"):
            kinds_of(alone, [kind])


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = report(measured())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"a picture needs matplotlib.*modhub\[plot\]"):
        need_plot("a picture")
    assert "modhub[plot]" in write_page(whole, tmp_path, data=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "mode", "size"),
    [
        (np.zeros((3, 8, 6), np.uint8), "RGB", (6, 8)),
        (np.linspace(-3, 3, 64, dtype=np.float32).reshape(1, 8, 8), "L", (8, 8)),
        (np.zeros((3, 300, 200), np.uint8), "RGB", (64, 96)),
        (np.full((1, 4, 4), 0.5, np.float32), "L", (4, 4)),
    ],
)
def test_samples_become_small_images(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], mode: str, size: tuple[int, int]
) -> None:
    import base64

    prefix, _, data = data_address(values).partition(",")
    assert prefix == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (image.mode, image.size) == (mode, size)


def test_samples_of_other_data_are_not_shown() -> None:
    whole = report(measured())
    data = images(CLASSES).pick(np.arange(10))
    assert "Some samples" not in decomposition_page(whole, data)
    assert isinstance(whole.scored, Scored)


def test_the_page_of_a_collection_is_no_part_of_its_packages(tmp_path: Path) -> None:
    whole = report(measured())
    folder = flow.write_collection(whole.packages, tmp_path / "out", extra=report_json(whole))
    assert write_page(whole, folder, data=None) == ""
    assert {file.name for file in folder.iterdir() if file.is_file()} == {"modhub.json", "report.json", "report.html"}
    assert len(flow.check(folder)) == len(whole.packages)
