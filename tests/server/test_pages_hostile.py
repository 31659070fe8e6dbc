"""Words of somebody who means harm, wherever words go: in a real browser they stay words.

Each field calls `hit` with a number of its own in some way that a careless page would run. Whatever ran, was loaded or
was refused by the page's policy would be written to the browser's console, so that has to stay empty.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from modhub.package.folder import INDEX_FILE
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.index import Index, Release
from modhub.spec.provenance import ClassLabel, Metric
from modhub_registry.pages.figures import kept_picture, overlap_picture, sides_picture
from modhub_registry.settings import Limits
from tests.server.browser import browser
from tests.server.collections import package
from tests.server.published import page, publish
from tests.server.service import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modhub.spec.manifest import Manifest
    from tests.server.service import Service

WAYS = (
    "<img src=x onerror=hit({})>",
    '"><script>hit({})</script>',
    "' onfocus=hit({}) autofocus tabindex=1 '",
    "<svg/onload=hit({})>",
    "javascript:hit({})",
    "</title></textarea></option><iframe srcdoc='<script>parent.hit({})</script>'>",
    '<a href="javascript:hit({})">x</a>',
    "`hit({})` [x](javascript:hit)",
    "{{{{hit({})}}}}{{% raw %}}",
    "--><body onpageshow=hit({})>",
)
CARD_WAYS = (
    "[x](javascript:hit({}))",
    "[x](JaVa\tScRiPt:hit({}))",
    "![x](x onerror=hit({}))",
    "<javascript:hit({})>",
    "<script>hit({})</script>",
    "<details open ontoggle=hit({})>",
    "```html onload=hit({})\n<b>\n```",
    "# <img src=x onerror=hit({})>",
    "[ref]: javascript:hit({})",
    "|<svg onload=hit({})>|b|\n|-|-|\n|c|d|",
    "[x](data:text/html;base64,hit({}))",
    "<style>*{{background:url(/hit({}))}}</style>",
    '<form action="javascript:hit({})"><button autofocus>',
    '<a href="//evil.example/hit({})">x</a>',
    "[x](\\javascript:hit({}))",
    "\x1b]0;hit({})\x07\u202e\x9b31m",
    '<meta http-equiv="refresh" content="0;url=/hit({})">',
)
HIT = re.compile(r"hit\((\d+)\)")
FIELDS = 40
"""Fields of one run, at least, that are seen on some page."""

PLACE = "/mallory/evil"
ASKED = ("q", "class", "method", "license", "parent")
LOADED = """[...document.querySelectorAll('script[src], link[href], img[src]')]
    .map(e => e.src || e.href).filter(a => !a.startsWith(location.origin + '/static/'))"""
VALUES = "[...document.querySelectorAll('input,option')].map(e => e.value)"
BAD = """document.querySelectorAll(
    'iframe, object, embed, base, style, frame, form[action^=j], [srcdoc], script:not([src])').length
    + document.querySelectorAll('a[href^="javascript:" i]').length
    + [...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length"""


class Harm:
    """Words, each with a number of its own."""

    def __init__(self) -> None:
        self.count = 0

    def word(self) -> str:
        """Return another one."""
        self.count += 1
        return WAYS[self.count % len(WAYS)].format(self.count)

    def link(self) -> str:
        """Return an address that runs."""
        self.count += 1
        return f"javascript:hit({self.count})"

    def card(self, title: str) -> bytes:
        """Return a card of them."""
        lines = [f"---\nlibrary_name: modhub\ntags: [modhub]\n---\n# {title}"]
        for way in CARD_WAYS:
            self.count += 1
            lines.append(way.format(self.count))
        return "\n\n".join(lines).encode()


def harmful(manifest: Manifest, harm: Harm, card: bytes) -> Manifest:
    """Return a manifest with such words in every field that takes words."""
    word = harm.word
    assert manifest.method is not None
    assert manifest.data is not None
    assert manifest.parent is not None
    assert manifest.output.calibration is not None
    return dataclasses.replace(
        manifest,
        summary=word(),
        homepage=harm.link(),
        authors=(word(), word()),
        classes=(ClassLabel(name=word(), aliases=(word(),)),),
        parent=dataclasses.replace(manifest.parent, name=word()),
        method=dataclasses.replace(
            manifest.method,
            name=word(),
            version=word(),
            paper=word(),
            recipe=word(),
            parameters={word(): word(), "list": [word(), {word(): word()}]},
        ),
        data=dataclasses.replace(manifest.data, name=word(), split=word()),
        metrics={
            **manifest.metrics,
            word(): Metric(value=0.5, split=word(), n=10, low=0.4, high=0.6),
            "f1": Metric(value=0.5, split=word(), n=10),
        },
        output=dataclasses.replace(
            manifest.output, calibration=dataclasses.replace(manifest.output.calibration, data=word())
        ),
        card=FileRecord.of("README.md", data=card),
        extra={word(): word()},
    )


def evil_files(harm: Harm) -> dict[str, bytes]:
    base, cat, dog = package("base"), package("cat"), package("dog")
    files, releases = {}, [Release.of(base.manifest, base.read("module.json"))]
    for path, data in base.contents().items():
        files[f"base/1.0.0/{path}"] = data
    for each, mark in ((cat, "deprecated"), (dog, "yanked")):
        card = harm.card(each.name)
        manifest = harmful(each.manifest, harm, card)
        own = {**each.contents(), "module.json": manifest.to_json(), "README.md": card}
        entry = Release.of(manifest, own["module.json"])
        hint = {"verificationMaterial": {"publicKey": {"hint": harm.word()}}}
        extra = {"signature": json.dumps(hint), harm.word(): harm.word()}
        marked: dict[str, Any] = {mark: harm.word()}
        releases.append(dataclasses.replace(entry, **marked, extra=extra))
        files |= {f"{each.name}/1.0.0/{path}": data for path, data in own.items()}
    index = Index().adding(releases, previous=sha256(Index().to_json()))
    index = dataclasses.replace(index, summary=harm.word(), extra={harm.word(): harm.word()})
    return {**files, INDEX_FILE: index.to_json(), "README.md": harm.card("evil")}


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry with such a collection."""
    # A registry that looks into every package would refuse some of it.
    limits = Limits(requests_per_minute=0)
    with served(tmp_path_factory.mktemp("evil"), limits=limits, checks="index") as service:
        publish(service, "mallory/evil", evil_files(Harm()))
        yield service


def asking(harm: Harm, path: str, *names: str) -> str:
    return f"{path}?{'&'.join(f'{name}={quote(printable(harm.word()))}' for name in names)}"


def printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())


def test_words_of_strangers_run_nowhere(evil: Service, tmp_path: Path) -> None:
    harm = Harm()
    harm.count = 1000
    label = quote(printable(harm.word()))
    paths = [
        "/",
        PLACE,
        f"{PLACE}/cat",
        f"{PLACE}/dog/1.0.0",
        "/catalog/compose",
        "/catalog/compose?m=mallory/evil/cat",
        "/catalog/compare?m=mallory/evil/cat&m=mallory/evil/dog",
        asking(harm, "/", *ASKED),
        asking(harm, "/catalog/compose", "from"),
        asking(harm, "/catalog/compose", "m"),
        asking(harm, "/catalog/compose", "class"),
        asking(harm, "/catalog/compare", "m"),
        asking(harm, "/catalog/try", "m"),
        asking(harm, "/", "min_f1"),
        asking(harm, "/", "page"),
        f"{PLACE}/{label}",
        f"{PLACE}/cat/{label}",
        f"/{label}/x",
    ]
    seen: set[str] = set()
    with browser(tmp_path / "profile") as chrome:
        for path in paths:
            chrome.open(f"{evil.url}{path}")
            assert chrome.value(LOADED) == [], path
            assert chrome.value(BAD) == 0, path
            # What is no address at all is refused in plain text, by the server below the pages.
            title, kind = chrome.value("[document.title, document.contentType]")
            assert title.endswith("modhub registry") or kind != "text/html", path
            markup = chrome.value("document.documentElement.outerHTML")
            assert not set("\x1b\x07\x9b\u202e") & set(markup), path
            seen |= set(HIT.findall(chrome.value("document.documentElement.innerText")))
            seen |= set(
                HIT.findall(" ".join(chrome.value("[...document.querySelectorAll('input,option')].map(e => e.value)")))
            )
        # Nothing but the addresses that are none of this server's, and what was asked wrongly, is complained about.
        said = [each for each in chrome.said if "the server responded with a status of 40" not in each]
    assert said == []
    assert len(seen) >= FIELDS, sorted(seen, key=int)


def test_nothing_hidden_reaches_a_page_in_any_header_or_body(evil: Service) -> None:
    for path in ("/", PLACE, f"{PLACE}/cat", f"{PLACE}/dog/1.0.0"):
        answer = page(evil, path).answer
        assert not {0x1B, 0x07, 0x00} & set(answer.body), path
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_names_in_pictures_stay_names() -> None:
    harm = Harm()
    site = {
        "name": harm.word(),
        "site": "s",
        "kind": "kernels",
        "channels": 9,
        "weights": 9,
        "layers": [harm.word(), harm.word()],
        "state": "masked",
        "pinned": None,
    }
    module = {"class": harm.word(), "kernels_kept": 0.5, "channels": [5], "weights": [4]}
    names = [harm.word(), harm.word()]
    measured = {
        "kept": {"measure": "kernels", "sites": [site], "modules": [module, module]},
        "overlap": {"jaccard": [[1.0, 0.5], [0.5, 1.0]]},
    }
    for picture in (
        kept_picture(measured, name=harm.word()),
        sides_picture(measured, names=names),
        overlap_picture(measured, names=names),
    ):
        assert picture is not None
        assert not re.search(r"<(?!/?(svg|g|title|text|rect|path)\b)", picture.svg)
        assert not re.search(r"<[^>]*\son\w+=", re.sub('"[^"]*"', '""', picture.svg))
