"""A collection of modhub packages only grows, by valid releases; any other repository is plain storage."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from modhub.spec.digests import sha256
from modhub.spec.index import Index
from modhub_registry.settings import Limits
from tests.server.collections import lines, package, publication
from tests.server.service import header, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.service import Answer, Service

INDEX = "modhub.json"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with served(tmp_path_factory.mktemp("registry"), limits=Limits()) as found:
        yield found


@pytest.fixture
def pets(service: Service, request: pytest.FixtureRequest) -> str:
    """A collection with a base and a cat."""
    repo = f"alice/{request.node.name[:40].strip('_').replace('__', '-')}"
    service.api().create_repo(repo)
    done = service.commit(repo, header(), *lines(publication("base", "cat")))
    assert done.status == 200, done.body
    return repo


def index_of(service: Service, repo: str) -> bytes:
    """Return the index as it is served."""
    return service.call("GET", f"/{repo}/resolve/main/{INDEX}").body


def check_refused(answer: Answer, *reasons: str) -> None:
    """Check that a commit was refused for these reasons."""
    assert answer.status == 400, answer.body
    assert answer.headers["x-error-code"] == "InvalidCollection"
    for reason in reasons:
        assert reason in answer.json()["error"]


def test_a_valid_collection_grows(service: Service, pets: str) -> None:
    old = index_of(service, pets)
    done = service.commit(pets, header(), *lines(publication("dog", on=old)))
    assert done.status == 200, done.body
    assert [release.name for release in Index.from_json(index_of(service, pets)).releases] == ["base", "cat", "dog"]


def test_marks_may_come_and_go(service: Service, pets: str) -> None:
    for reason in ("wrong labels", None):
        old = index_of(service, pets)
        index = Index.from_json(old).yanking("cat", "1.0.0", reason=reason, previous=sha256(old))
        assert service.commit(pets, header(), *lines({INDEX: index.to_json()})).status == 200


def test_other_files_are_nobodys_business(service: Service, pets: str) -> None:
    assert service.commit(pets, header(), *lines({"README.md": b"# Pets", "notes/x.txt": b"x"})).status == 200


def test_an_invalid_package_is_refused_with_all_reasons(service: Service) -> None:
    service.api().create_repo("alice/broken")
    files = publication("base", "cat")
    files["cat/1.0.0/delta.safetensors"] = b"nonsense"
    files["cat/1.0.0/extra.bin"] = b"unnamed"
    del files["base/1.0.0/sites.json"]
    answer = service.commit("alice/broken", header(), *lines(files))
    check_refused(
        answer,
        "3 problems",
        "cat/1.0.0/delta.safetensors: has 8 bytes and the sha256",
        "cat/1.0.0/extra.bin: is not named by the manifest",
        "base/1.0.0/sites.json: is missing",
    )
    assert service.api().list_repo_files("alice/broken") == []


def test_packages_are_looked_into(service: Service) -> None:
    service.api().create_repo("alice/looked")
    # All digests fit, but the masks are none.
    whole = package("cat")
    record = next(file for file in whole.manifest.files if file.path == "delta.safetensors")
    bad = b"x" * record.size
    forms = {
        "delta": tuple(
            dataclasses.replace(file, sha256=sha256(bad)) if file.path == record.path else file
            for file in whole.manifest.forms["delta"]
        )
    }
    manifest = dataclasses.replace(whole.manifest, forms=forms).to_json()
    files = publication("base", "cat")
    index = json.loads(files[INDEX])
    entry = next(each for each in index["releases"] if each["name"] == "cat")
    entry["manifest"] |= {"size": len(manifest), "sha256": sha256(manifest)}
    for each in entry["forms"]["delta"]:
        if each["path"] == record.path:
            each["sha256"] = sha256(bad)
    files |= {
        "cat/1.0.0/delta.safetensors": bad,
        "cat/1.0.0/module.json": manifest,
        INDEX: Index.from_dict(index).to_json(),
    }
    check_refused(service.commit("alice/looked", header(), *lines(files)), "cat/1.0.0/delta.safetensors")


def test_a_release_never_changes(service: Service, pets: str) -> None:
    answer = service.commit(pets, header(), *lines({"cat/1.0.0/README.md": b"changed"}))
    check_refused(answer, "cat/1.0.0: this release is published")
    gone = {"key": "deletedFile", "value": {"path": "cat/1.0.0/README.md"}}
    check_refused(service.commit(pets, header(), gone), "cat/1.0.0: this release is published")
    gone = {"key": "deletedFolder", "value": {"path": "cat"}}
    check_refused(service.commit(pets, header(), gone), "cat/1.0.0: this release is published")


def test_an_index_never_shrinks(service: Service, pets: str) -> None:
    check_refused(service.commit(pets, header(), *lines({INDEX: publication("base")[INDEX]})), "revision")
    old = index_of(service, pets)
    index = Index.from_json(old)
    smaller = dataclasses.replace(index, releases=index.releases[:1], revision=9, previous=sha256(old))
    check_refused(service.commit(pets, header(), *lines({INDEX: smaller.to_json()})), "cat 1.0.0 was published")
    gone = {"key": "deletedFile", "value": {"path": INDEX}}
    check_refused(service.commit(pets, header(), gone), "a collection keeps its index")


def test_an_index_follows_the_one_before(service: Service, pets: str) -> None:
    old = index_of(service, pets)
    index = Index.from_json(old).yanking("cat", "1.0.0", reason="x", previous=sha256(b"another"))
    check_refused(service.commit(pets, header(), *lines({INDEX: index.to_json()})), "previous")


@pytest.mark.parametrize("index", [b"", b"{}", b"[" * 100_000, b'{"format": "modhub/index@9"}', b"\xff"])
def test_an_index_that_is_none_is_refused(service: Service, index: bytes) -> None:
    repo = f"alice/none-{sha256(index)[:8]}"
    service.api().create_repo(repo)
    check_refused(service.commit(repo, header(), *lines({INDEX: index})), INDEX)


def test_a_release_needs_its_base(service: Service) -> None:
    service.api().create_repo("alice/baseless")
    answer = service.commit("alice/baseless", header(), *lines(publication("cat")))
    check_refused(answer, "cat/1.0.0: needs base 1.0.0, which is not in the collection")


def test_an_index_says_what_the_manifest_says(service: Service) -> None:
    service.api().create_repo("alice/liar")
    files = publication("base", "cat")
    index = json.loads(files[INDEX])
    index["releases"][1]["license"] = "MIT" if index["releases"][1]["license"] != "MIT" else "ISC"
    files[INDEX] = Index.from_dict(index).to_json()
    check_refused(service.commit("alice/liar", header(), *lines(files)), "is not what cat/1.0.0/module.json says")


def test_tags_of_versions_stay(service: Service, pets: str) -> None:
    api = service.api()
    for tag in ("v1.0.0", "cat-v1.0.0", "mine"):
        api.create_tag(pets, tag=tag)
        answer = service.call("DELETE", f"/api/models/{pets}/tag/{tag}", user="alice")
        assert answer.status == (200 if tag == "mine" else 403)
    answer = service.call("POST", f"/api/models/{pets}/tag/main", {"tag": "v1.0.0"}, user="alice")
    assert answer.status == 409


def test_branches_are_checked_too(service: Service, pets: str) -> None:
    service.api().create_branch(pets, branch="next")
    answer = service.commit(pets, header(), *lines({"cat/1.0.0/README.md": b"changed"}), branch="next")
    check_refused(answer, "cat/1.0.0: this release is published")


def test_a_plain_repository_may_hold_anything(service: Service) -> None:
    service.api().create_repo("alice/plain")
    files = {"cat/1.0.0/module.json": b"nonsense", "deep/modhub.json": b"nonsense"}
    assert service.commit("alice/plain", header(), *lines(files)).status == 200
    service.api().create_tag("alice/plain", tag="v1")
    service.api().delete_tag("alice/plain", tag="v1")
