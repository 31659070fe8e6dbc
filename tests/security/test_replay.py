"""Releases under names that are not theirs, other bytes under old names, other registries under old locks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modhub import flow
from modhub.cli.main import run
from modhub.errors import InvalidPackage
from modhub.package.folder import read_collection
from modhub.spec.digests import sha256
from tests.support.pets import pets_packages, publish_pets

if TYPE_CHECKING:
    from collections.abc import Callable

CAT = "acme/pets/cat"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with two versions of the pets, to copy."""
    return publish_pets(tmp_path_factory.mktemp("published") / "registry", "1.0.0", "1.1.0")


@pytest.fixture
def registry(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, in the folder where commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODHUB_STORE", "store")
    monkeypatch.setenv("MODHUB_REGISTRY", "./registry")
    return Path(shutil.copytree(published, tmp_path / "registry"))


def newest_index(registry: Path, collection: str = "acme/pets") -> Path:
    return max((registry / collection / ".modhub" / "index").glob("*.json"))


def rewrite(registry: Path, change: Callable[[dict[str, Any]], object], *, collection: str = "acme/pets") -> None:
    """Let the registry show another index than it did, under the same number."""
    path = newest_index(registry, collection)
    index = json.loads(path.read_text())
    change(index)
    for place in (path, registry / collection / "modhub.json"):
        place.write_text(json.dumps(index))


def entry(index: dict[str, Any], name: str, version: str) -> dict[str, Any]:
    (found,) = [each for each in index["releases"] if (each["name"], each["version"]) == (name, version)]
    return dict(found)


def listed_as(
    index: dict[str, Any], source: tuple[str, str], *, name: str, version: str, registry: Path | None = None
) -> None:
    """List the files of one release under another name and version, the older entry of which goes."""
    taken = entry(index, *source) | {"name": name, "version": version}
    others = [each for each in index["releases"] if (each["name"], each["version"]) != (name, version)]
    index["releases"] = sorted([*others, taken], key=lambda each: (each["name"], each["version"]))
    if registry is not None:
        target = registry / "acme" / "pets" / name / version
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(registry / "acme" / "pets" / source[0] / source[1], target)


REPLAYS = {
    "an old version as a new one": (("cat", "1.0.0"), "cat", "2.0.0"),
    "an old version as the next one": (("cat", "1.0.0"), "cat", "1.1.0"),
    "a new version as an old one": (("cat", "1.1.0"), "cat", "1.0.0"),
    "a cat as a dog": (("cat", "1.1.0"), "dog", "1.1.0"),
    "a dog as a cat": (("dog", "1.1.0"), "cat", "3.0.0"),
    "a base as a module": (("base", "1.0.0"), "cat", "4.0.0"),
}


@pytest.mark.parametrize(("source", "name", "version"), REPLAYS.values(), ids=REPLAYS)
def test_a_release_under_another_name_or_version_is_refused(
    source: tuple[str, str], name: str, version: str, registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(registry, lambda index: listed_as(index, source, name=name, version=version, registry=registry))
    assert run(["install", f"acme/pets/{name}=={version}"]) == 4
    problem = capsys.readouterr().err
    assert "is the manifest of" in problem or "is not what it was chosen for" in problem
    assert not Path("modhub.lock").exists()


DISAGREEMENTS: dict[str, dict[str, object]] = {
    "classes": {"classes": ["tiger"]},
    "licence": {"license": "GPL-3.0-only"},
    "kind": {"kind": "composite"},
    "provides": {"provides": ["class:tiger"]},
    "no dependencies": {"dependencies": []},
}


@pytest.mark.parametrize("change", DISAGREEMENTS.values(), ids=DISAGREEMENTS)
def test_an_index_that_says_other_things_than_the_manifest_is_refused(
    change: dict[str, object], registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lie(index: dict[str, Any]) -> None:
        for each in index["releases"]:
            if (each["name"], each["version"]) == ("cat", "1.1.0"):
                each.update(change)

    rewrite(registry, lie)
    assert run(["install", "acme/pets/cat==1.1.0"]) == 4
    assert capsys.readouterr().err.startswith("modhub: ")
    assert not Path("modhub.lock").exists()
    with pytest.raises(InvalidPackage, match=r"modhub\.json"):
        read_collection(registry / "acme" / "pets")


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "other bytes for a version": lambda it: it["releases"][1]["manifest"].update(sha256="0" * 64),
    "a release is gone": lambda it: it["releases"].pop(),
    "a release is new, under the same number": lambda it: listed_as(it, ("cat", "1.1.0"), name="cat", version="9.0.0"),
    "another licence": lambda it: it["releases"][1].update(license="0BSD"),
    "an older number": lambda it: it.update(revision=1),
    "a later number that continues nothing": lambda it: it.update(
        revision=it["revision"] + 1, previous=sha256(b"another history")
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_history_that_changed_after_it_was_seen_is_exit_code_4(
    change: Callable[[dict[str, Any]], object], registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", "acme/pets"]) == 0
    rewrite(registry, change)
    capsys.readouterr()
    assert run(["info", "acme/pets"]) == 4
    assert run(["resolve", "acme/pets/dog"]) == 4
    assert "seen before" in capsys.readouterr().err


def test_a_registry_that_goes_back_in_time_hides_a_yank_from_nobody(registry: Path) -> None:
    older = shutil.copytree(registry, registry.with_name("older"))
    assert run(["yank", "acme/pets/cat==1.1.0", "-r", "./registry", "--reason", "wrong"]) == 0
    assert run(["info", "acme/pets"]) == 0
    shutil.rmtree(registry)
    shutil.move(older, registry)
    assert run(["info", "acme/pets"]) == 4


def test_files_that_were_changed_on_the_registry_are_exit_code_4(registry: Path) -> None:
    assert run(["resolve", CAT, "-o", "modhub.lock"]) == 0
    for name in ("module.json", "delta.safetensors"):
        path = registry / "acme" / "pets" / "cat" / "1.1.0" / name
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
        assert run(["install", "--locked"]) == 4
        data[-3] ^= 1
        path.write_bytes(data)
    assert run(["install", "--locked"]) == 0


@pytest.fixture
def elsewhere(registry: Path) -> Path:
    """Another registry, with a higher version of the same packages that is somebody else's."""
    return publish_pets(registry.with_name("elsewhere"), "9.0.0", "9.1.0")


def test_the_registry_that_was_asked_is_the_one_that_answers(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert elsewhere.is_dir()
    assert run(["resolve", CAT, "--json"]) == 0
    assert {each["version"] for each in json.loads(capsys.readouterr().out)["module"]} == {"1.1.0"}
    assert run(["resolve", f"{CAT}>=9"]) == 1, "there is no falling back to another registry"
    assert run(["resolve", "-r", "./registry", "-r", "./elsewhere", CAT, "--json"]) == 0
    capsys.readouterr()


def test_an_old_lock_stays_with_its_registry(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["install", CAT]) == 0
    before = Path("modhub.lock").read_text()
    assert run(["install", "-r", str(elsewhere), "--locked"]) == 0
    assert Path("modhub.lock").read_text() == before
    assert elsewhere.as_uri() not in before
    capsys.readouterr()


def test_a_lock_whose_registry_was_swapped_is_refused(registry: Path, elsewhere: Path) -> None:
    assert run(["resolve", CAT, "-o", "modhub.lock"]) == 0
    lock = Path("modhub.lock")
    swapped = lock.read_text().replace(registry.as_uri(), elsewhere.as_uri())
    assert swapped != lock.read_text()
    lock.write_text(swapped)
    assert run(["install", "--locked"]) in (3, 4)
    lock.write_text(swapped.replace("1.1.0", "9.1.0"))
    assert run(["install", "--locked"]) == 4, "it has that version, and not these bytes"


@pytest.mark.usefixtures("registry")
def test_yanked_versions_stay_for_locks_and_are_not_chosen_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["install", CAT]) == 0
    assert run(["yank", "acme/pets/cat==1.1.0", "-r", "./registry", "--reason", "wrong classes"]) == 0
    assert run(["install", "--locked"]) == 0, "who has a lock still installs it"
    shutil.rmtree("store")
    assert run(["install", "--locked"]) == 0, "from the registry, too"
    Path("modhub.lock").unlink()
    capsys.readouterr()
    assert run(["resolve", CAT, "--json"]) == 0
    assert {each["version"] for each in json.loads(capsys.readouterr().out)["module"]} == {"1.0.0"}


def test_a_version_that_was_yanked_is_not_free(registry: Path) -> None:
    assert run(["yank", "acme/pets/cat==1.1.0", "-r", "./registry", "--reason", "wrong"]) == 0
    flow.write_collection(pets_packages("1.1.0", seed=7), registry.with_name("pets"))
    assert run(["publish", "pets", "--to", "./registry", "--name", "acme/pets"]) == 1
