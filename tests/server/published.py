"""Collections that tests of the pages publish, and pages as a browser sees them."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from modhub import flow
from modhub.package.folder import INDEX_FILE
from modhub.package.pack import Release as Said
from modhub.spec.digests import sha256
from modhub.spec.index import Index, Release
from tests.server.collections import SEED, lines
from tests.server.service import header
from tests.support.modules import random_decomposition
from tests.support.networks import Builder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.package.package import Package
    from tests.server.service import Answer, Service

SEEDED = "modhub/resnet20-cifar10"
PLACE = f"/{SEEDED}"
VOID = frozenset("area base br col embed hr img input link meta source track wbr rect path".split())


class Page(HTMLParser):
    """A page as a browser sees it: its elements with their attributes, its text, and whether every tag is closed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.answer = answer
        self.feed(answer.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            while self.open and self.open[-1] in {"li", "p", "option", "tr", "td", "th"} and self.open[-1] != tag:
                self.open.pop()
            assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def links(self) -> set[str]:
        found = {each["href"] for each in self.all("a") + self.all("link")}
        return found | {each["src"] for each in self.all("img") + self.all("script")}


def page(service: Service, path: str, *, user: str = "") -> Page:
    return Page(service.call("GET", path, user=user))


def publish(service: Service, name: str, files: Mapping[str, bytes], *, private: bool = False) -> None:
    user = name.partition("/")[0]
    owner, _, repo = name.partition("/")
    body = {"name": repo, "organization": owner, "private": private}
    assert service.call("POST", "/api/repos/create", body, user=user).status in {200, 409}
    answer = service.commit(name, header(), *lines(files), user=user)
    assert answer.status == 200, answer.body


def seed_files() -> dict[str, bytes]:
    return {str(path.relative_to(SEED)): path.read_bytes() for path in SEED.rglob("*") if path.is_file()}


def collection_files(packages: Sequence[Package], *, signatures: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """Return the files of a collection of some packages, with signatures by their names."""
    releases = [Release.of(each.manifest, each.read("module.json")) for each in packages]
    for number, release in enumerate(releases):
        if release.name in (signatures or {}):
            releases[number] = dataclasses.replace(release, extra={"signature": (signatures or {})[release.name]})
    found = {INDEX_FILE: Index().adding(releases, previous=sha256(Index().to_json())).to_json()}
    for each in packages:
        found |= {f"{each.name}/{each.version}/{path}": data for path, data in each.contents().items()}
    return found


def digit_packages() -> tuple[Package, ...]:
    """Return modules of a network that takes grey images of 28 by 28 pixels; nobody trained it."""
    builder = Builder(shape=(1, 28, 28), seed=3)
    value = builder.relu(builder.conv(builder.input, 4))
    value = builder.flatten(builder.global_pool(builder.relu(builder.conv(value, 6))))
    network = builder.build(builder.gemm(value, 3))
    labels = ("zero", "one", "two")
    return flow.pack(random_decomposition(network, labels=labels), Said(labels=labels, license="MIT"))
