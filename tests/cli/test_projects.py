"""A folder with a recipe: resolving, installing and composing without saying what; locks that are checked and kept."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from modhub.spec.lock import Lock
from tests.support.pets import publish_pets, write_pets_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]

RECIPE = """
name = "two-pets"
requirements = ["acme/pets/cat", "class:dog"]
registry = "./modules"
output = "built"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe, and a registry beside it."""
    publish_pets(tmp_path / "modules", "1.0.0")
    (tmp_path / "modhub.toml").write_text(RECIPE)
    monkeypatch.setenv("MODHUB_STORE", str(tmp_path / "store"))
    return tmp_path


def versions(folder: Path) -> dict[str, str]:
    """Return what the lock of a folder holds."""
    lock = Lock.from_toml((folder / "modhub.lock").read_text())
    return {module.name.rpartition("/")[2]: module.version for module in lock.modules}


def change(folder: Path, old: str, new: str) -> None:
    """Change the recipe."""
    file = folder / "modhub.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_a_recipe_is_resolved_and_its_lock_lies_beside_it(call: Call, project: Path) -> None:
    answer = call("resolve")
    assert (answer.code, "wrote modhub.lock" in answer.err) == (0, True)
    assert versions(project) == {"base": "1.0.0", "cat": "1.0.0", "dog": "1.0.0"}
    again = call("resolve")
    assert (again.code, "wrote" in again.err) == (0, False)


def test_a_recipe_may_lie_elsewhere(call: Call, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "empty").mkdir()
    monkeypatch.chdir(project / "empty")
    assert call("resolve", "../modhub.toml").code == 0
    assert versions(project)["cat"] == "1.0.0"
    assert call("compose", "../modhub.toml", "-o", "here").code == 0
    assert (project / "empty" / "here" / "model.onnx").is_file()


def test_a_recipe_is_composed_as_it_says(call: Call, project: Path) -> None:
    answer = call("compose", "--json")
    assert answer.code == 0
    assert answer.json["manifest"]["name"] == "two-pets"
    assert [label["name"] for label in answer.json["manifest"]["classes"]] == ["cat", "dog"]
    assert (project / "built" / "modhub.lock").read_text() == (project / "modhub.lock").read_text()
    other = call("compose", "--json", "-o", "other", "--name", "other")
    assert other.json["manifest"]["name"] == "other"


def test_the_lock_of_a_recipe_is_kept_when_newer_releases_come(call: Call, project: Path) -> None:
    call("resolve")
    before = (project / "modhub.lock").read_text()
    publish_pets(project / "modules", "1.0.0", "1.1.0")
    assert call("resolve", "--check").code == 0
    assert call("install").code == 0
    assert (project / "modhub.lock").read_text() == before
    assert call("resolve", "--upgrade").code == 0
    assert set(versions(project).values()) == {"1.1.0"}


def test_a_lock_is_made_anew_when_the_recipe_changes_and_only_there(call: Call, project: Path) -> None:
    call("resolve")
    before = (project / "modhub.lock").read_text().splitlines()
    publish_pets(project / "modules", "1.0.0", "1.1.0")
    change(project, '"class:dog"]', '"class:dog", "acme/pets/bird"]')
    check = call("resolve", "--check")
    assert check.code == 1
    assert "  acme/pets/bird is asked for, and the lock lacks it" in check.out.splitlines()
    assert call("install", "--locked").code == 1
    assert call("resolve").code == 0
    after = (project / "modhub.lock").read_text().splitlines()
    assert versions(project) == {"base": "1.0.0", "bird": "1.0.0", "cat": "1.0.0", "dog": "1.0.0"}
    # Of the modules that were there nothing changes but who needs the base, and which index it was read from.
    gone = [line for line in before if line not in after]
    assert all(line.startswith("revision = ") for line in gone)
    assert call("resolve", "--check").code == 0


def test_one_package_is_upgraded_and_what_it_takes_along(call: Call, project: Path) -> None:
    call("resolve")
    publish_pets(project / "modules", "1.0.0", "1.1.0")
    assert call("resolve", "--upgrade", "cat").code == 0
    # Modules of one parent need one version of their base.
    assert versions(project) == {"base": "1.1.0", "cat": "1.1.0", "dog": "1.1.0"}
    refused = call("resolve", "--upgrade", "eel")
    assert refused.code == 2
    assert "'eel' names no packages of the lock to upgrade; it holds acme/pets/base, acme/pets/cat" in refused.err


def test_upgrading_one_package_leaves_others_where_they_are(call: Call, project: Path) -> None:
    publish_pets(project / "modules", "1.0.0", collection="acme/birds")
    change(project, '"class:dog"', '"acme/birds/bird"')
    call("resolve")
    publish_pets(project / "modules", "1.0.0", "1.1.0", collection="acme/birds")
    publish_pets(project / "modules", "1.0.0", "1.1.0")
    assert call("resolve", "--upgrade", "acme/birds/bird").code == 0
    assert versions(project) | {"base": ""} == {"base": "", "bird": "1.1.0", "cat": "1.0.0"}


def test_a_locked_project_needs_no_registry(call: Call, project: Path) -> None:
    call("install")
    shutil.rmtree(project / "modules")
    for words in (("install",), ("install", "--locked", "--offline"), ("compose", "--offline")):
        answer = call(*words)
        assert answer.code == 0, answer.err
    assert call("compose", "modhub.lock", "-o", "again", "--offline").code == 0
    assert (project / "again" / "model.onnx").read_bytes() == (project / "built" / "model.onnx").read_bytes()
    check = call("resolve", "--check")
    assert (check.code, "there is no registry" in check.err) == (3, True)


def test_a_lock_does_not_hold_when_its_registry_lists_other_bytes(call: Call, project: Path) -> None:
    call("resolve")
    shutil.rmtree(project / "modules")
    shutil.rmtree(project / "store", ignore_errors=True)
    publish_pets(project / "other", "0.9.0", "1.0.0")
    (project / "other").rename(project / "modules")
    shutil.rmtree(project / "store", ignore_errors=True)
    answer = call("resolve", "--check", "--json")
    assert (answer.code, answer.json["holds"]) == (1, False)
    assert "lists acme/pets/cat 1.0.0 with the manifest" in " ".join(answer.json["differences"])


def test_a_lock_does_not_hold_when_a_release_is_gone(call: Call, project: Path) -> None:
    call("resolve")
    shutil.rmtree(project / "modules")
    shutil.rmtree(project / "store", ignore_errors=True)
    publish_pets(project / "modules", "2.0.0")
    shutil.rmtree(project / "store", ignore_errors=True)
    lines = call("resolve", "--check").out.splitlines()
    assert any(line.endswith("has no acme/pets/cat 1.0.0") for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('form = "delta"', 'form = "standalone"', "lists other files of acme/pets/cat 1.0.0 than the lock has"),
        ('why = [\n    "class:dog",\n]', "why = []", "why of acme/pets/dog 1.0.0"),
        (
            'license = "MIT"',
            'license = "0BSD"',
            "license of acme/pets/base 1.0.0: the lock does not say what resolving",
        ),
    ],
)
def test_a_lock_that_was_edited_does_not_hold(call: Call, project: Path, old: str, new: str, line: str) -> None:
    call("resolve")
    file = project / "modhub.lock"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    answer = call("resolve", "--check")
    assert answer.code == 1
    assert line in answer.out


def test_how_a_lock_was_made_is_part_of_it(call: Call, project: Path) -> None:
    call("resolve", "--license", "permissive", "--max-size", "1MB")
    lock = Lock.from_toml((project / "modhub.lock").read_text())
    assert (lock.request.licenses, lock.request.max_size) == (("permissive",), 1_000_000)
    lines = call("resolve", "--check").out.splitlines()[1:]
    assert lines == [
        "  licenses was ['permissive'] when the lock was made, and is left open",
        "  max-size was 1000000 when the lock was made, and is left open",
    ]
    assert call("resolve", "--check", "--license", "permissive", "--max-size", "1MB").code == 0


def test_a_policy_in_a_recipe_is_kept(call: Call, project: Path) -> None:
    with (project / "modhub.toml").open("a") as file:
        file.write("[policy]\nmin-f1 = 0.9\n")
    answer = call("resolve")
    assert answer.code == 1
    assert "acme/pets/cat 1.0.0 has no measured F1, and 0.9 is asked for" in answer.err
    assert "a min-f1 below 0.9" in answer.err


def test_without_a_recipe_a_lock_says_what_is_resolved(call: Call, project: Path) -> None:
    (project / "modhub.toml").unlink()
    assert call("resolve", "acme/pets/cat", "-r", project / "modules", "-o", "modhub.lock").code == 0
    assert call("resolve", "--check").code == 0
    publish_pets(project / "modules", "1.0.0", "1.1.0")
    assert call("resolve", "--upgrade").code == 0
    assert versions(project) == {"base": "1.1.0", "cat": "1.1.0"}


def test_an_origin_is_a_name_of_the_recipe_or_a_folder_beside_it(call: Call, project: Path) -> None:
    publish_pets(project / "elsewhere", "3.0.0", collection="evil/pets")
    publish_pets(project / "elsewhere", "3.0.0")
    change(project, '"acme/pets/cat", "class:dog"', '"evil/pets/cat @ work", "class:dog @ ./elsewhere"')
    with (project / "modhub.toml").open("a") as file:
        file.write('[registries]\nwork = "./elsewhere"\n')
    answer = call("resolve", "--explain")
    assert answer.code == 0, answer.err
    lock = Lock.from_toml((project / "modhub.lock").read_text())
    assert lock.requirements == ("evil/pets/cat @ work", "class:dog @ ./elsewhere")
    assert {module.registry for module in lock.modules} == {(project / "elsewhere").as_uri()}
    assert call("resolve", "--check").code == 0
    assert call("compose").code == 0


def test_a_name_is_not_looked_up_in_a_registry_that_is_only_an_origin(call: Call, project: Path) -> None:
    publish_pets(project / "elsewhere", "9.0.0", collection="acme/zoo")
    refused = call("resolve", "acme/zoo/cat", "acme/zoo/dog @ ./elsewhere", "-r", project / "modules")
    assert refused.code == 1
    assert "acme/zoo/cat 9.0.0 lies in file:///" in refused.err
    assert "not where it was asked for" in refused.err
    assert "  acme/zoo/cat @ ./elsewhere instead of acme/zoo/cat (acme/zoo/cat 9.0.0)\n" in refused.err


def test_a_folder_in_a_recipe_is_composed_in_its_place(call: Call, project: Path) -> None:
    call("install")
    change(project, '"class:dog"]', '"./modules/acme/pets/bird/1.0.0", "class:dog"]')
    # A delta alone lacks its base; the whole collection has it.
    change(project, "./modules/acme/pets/bird/1.0.0", "./mine")
    publish_pets(project / "own", "1.0.0", collection="me/birds")
    shutil.copytree(project / "own" / "me" / "birds", project / "mine")
    change(project, '"acme/pets/cat", ', "")
    change(project, ', "class:dog"', "")
    answer = call("compose", "--json")
    assert answer.code == 0, answer.err
    assert len(answer.json["manifest"]["classes"]) == 4
    assert "there is nothing to resolve" in call("resolve").err


def test_data_to_calibrate_on_lies_beside_the_recipe(
    call: Call, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pets_data(project / "pets.npz")
    (project / "sub").mkdir()
    change(project, 'output = "built"', 'output = "built"\ncalibrate = "./pets.npz"')
    monkeypatch.chdir(project / "sub")
    answer = call("compose", "../modhub.toml")
    assert answer.code == 0, answer.err
    assert "calibrated: on" in answer.out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("resolve",), 2, "Say what to resolve, or run it where there is a modhub.toml or a modhub.lock."),
        (("compose", "-o", "x"), 2, "Say what to compose, or run it where there is a modhub.toml."),
        (("compose", "class:cat"), 2, "say which folder to write with --output, such as -o composed"),
        (("resolve", "class:cat", "--check"), 2, "--check looks at a lock, and say which with --output."),
        (("resolve", "class:cat", "--upgrade=cat"), 2, "there is no lock yet in which cat could be upgraded"),
        (("resolve", "class:cat", "--max-size", "big"), 2, "expected a size like 500kB or 2MiB, got 'big'"),
        (("resolve", "class:cat", "--license", "mit"), 2, "expected an SPDX licence or one of permissive"),
        (("install", "--locked"), 3, "there is no modhub.lock"),
    ],
)
@pytest.mark.usefixtures("call")
def test_what_is_missing_is_said(call: Call, words: tuple[str, ...], code: int, told: str) -> None:
    answer = call(*words)
    assert answer.code == code
    assert told in " ".join(answer.err.split())


def test_a_recipe_with_a_mistake_is_told_with_file_and_key(call: Call, project: Path) -> None:
    change(project, "requirements", "requirement")
    answer = call("compose")
    assert answer.code == 1
    assert answer.err.startswith("modhub: modhub.toml: requirement: is no key of a recipe; did you mean requirements?")
