from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modhub.hub.client import Client
from modhub.hub.memory import MemoryBackend
from modhub.hub.search import Query
from modhub.hub.store import Store
from modhub.spec.names import CollectionId
from tests.hub.packages import PETS, base_package, module

if TYPE_CHECKING:
    from pathlib import Path

ZOO = CollectionId("zoo", "animals")


@pytest.fixture
def client(tmp_path: Path) -> Client:
    client = Client({"ours": MemoryBackend("memory:ours"), "zoo": MemoryBackend("memory:zoo")}, store=Store(tmp_path))
    client.publish(
        PETS,
        [
            base_package(),
            module("cat", f1=0.8),
            module("cat", "1.1.0", f1=0.9, method="moda"),
            module("dog", f1=0.7, license="Apache-2.0", content=b"x" * 1000),
            module("ankle-boot", label="Ankle boot", summary="A boot, not a cat", f1=0.99),
        ],
    )
    client.publish(ZOO, [module("cat", f1=0.95), module("lion", summary="A large cat", f1=0.6)], registry="zoo")
    return client


def found(client: Client, query: Query, registry: str | None = None) -> list[str]:
    return [f"{hit.name} {hit.release.version}" for hit in client.search(query, registry=registry).hits]


def test_an_empty_query_finds_the_newest_release_of_every_package(client: Client) -> None:
    assert found(client, Query(), "ours") == [
        "acme/pets/ankle-boot 1.0.0",
        "acme/pets/cat 1.1.0",
        "acme/pets/dog 1.0.0",
        "acme/pets/base 1.0.0",
    ]


def test_packages_called_so_come_before_those_that_mention_it(client: Client) -> None:
    assert found(client, Query(text="cat", kind="module")) == [
        "zoo/animals/cat 1.0.0",
        "acme/pets/cat 1.1.0",
        "acme/pets/ankle-boot 1.0.0",
        "zoo/animals/lion 1.0.0",
    ]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (Query(text="BOOT"), ["acme/pets/ankle-boot 1.0.0"]),
        (Query(text="large zoo"), ["zoo/animals/lion 1.0.0"]),
        (Query(text="large boot"), []),
        (Query(class_name="Ankle boot"), ["acme/pets/ankle-boot 1.0.0"]),
        (Query(class_name="ankle-boot"), ["acme/pets/ankle-boot 1.0.0"]),
        (Query(method="moda"), ["acme/pets/cat 1.1.0"]),
        (Query(class_name="cat", method="gradsplitter"), ["zoo/animals/cat 1.0.0", "acme/pets/cat 1.0.0"]),
        (Query(license="Apache-2.0"), ["acme/pets/dog 1.0.0"]),
        (Query(min_f1=0.95), ["acme/pets/ankle-boot 1.0.0", "zoo/animals/cat 1.0.0"]),
        (Query(kind="base"), ["acme/pets/base 1.0.0"]),
        (Query(text="dog", kind="module", max_size=2000), []),
        (Query(parent="abc"), []),
    ],
)
def test_facets_narrow(client: Client, query: Query, names: list[str]) -> None:
    assert found(client, query) == names


def test_a_yanked_release_is_not_found_but_an_older_one_is(client: Client) -> None:
    client.yank(PETS.package("cat"), version="1.1.0", reason="wrong labels")
    assert found(client, Query(class_name="cat"), "ours") == ["acme/pets/cat 1.0.0"]
    client.yank(PETS.package("cat"), version="1.0.0", reason="wrong labels")
    assert found(client, Query(class_name="cat"), "ours") == []


def test_a_pre_release_is_found_where_there_is_nothing_else(client: Client) -> None:
    client.publish(PETS, [module("cat", "2.0.0rc1"), module("bird", "1.0.0a1"), module("bird", "1.0.0a2")])
    assert found(client, Query(text="class:cat", kind="module"), "ours") == ["acme/pets/cat 1.1.0"]
    assert found(client, Query(class_name="bird")) == ["acme/pets/bird 1.0.0a2"]


def test_a_hit_says_where_it_comes_from(client: Client) -> None:
    assert {hit.registry for hit in client.search(Query(class_name="cat")).hits} == {"memory:ours", "memory:zoo"}
