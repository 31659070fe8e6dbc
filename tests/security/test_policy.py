"""Whoever asks for signatures gets them asked for everywhere: by options, by variables, and by the settings file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modhub import flow
from modhub.cli.main import run
from modhub.workspace.signatures import sign_packages
from tests.security.test_signatures import write_key
from tests.support.pets import pets_packages, publish_pets

if TYPE_CHECKING:
    from collections.abc import Sequence

CAT = "acme/pets/cat"
SETTINGS = """
registry = "./registry"
store = "store"
require-signature = true
trust = ["acme={key}"]
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two registries with the pets, one of them signed by Acme, and Acme's keys."""
    folder = tmp_path_factory.mktemp("scene")
    key, packages = write_key(folder, "acme"), pets_packages()
    signatures = sign_packages(packages, collection="acme/pets", key=key)
    flow.publish(packages, to=str(folder / "signed"), collection="acme/pets", store=folder / "s", signatures=signatures)
    publish_pets(folder / "bare", "1.0.0")
    return folder


@pytest.fixture
def place(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings that ask for Acme's signatures, and a registry that is signed."""
    (tmp_path / "config.toml").write_text(SETTINGS.format(key=scene / "acme.pub"))
    monkeypatch.setenv("MODHUB_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(scene / "signed", tmp_path / "registry")
    return tmp_path


def unsign(place: Path, scene: Path) -> None:
    """Let the registry hold the same packages, without signatures."""
    shutil.rmtree(place / "registry")
    shutil.copytree(scene / "bare", place / "registry")


def test_what_is_signed_is_installed_composed_and_audited(place: Path) -> None:
    assert place.is_dir()
    assert run(["install", CAT]) == 0
    assert run(["compose", "modhub.lock", "-o", "out"]) == 0
    assert run(["audit"]) == 0
    assert run(["run", "out", "--help"]) == 0


@pytest.mark.parametrize("words", [["install", CAT], ["compose", CAT, "-o", "out"]], ids=lambda words: words[0])
def test_what_is_not_signed_is_refused_wherever_it_is_fetched(
    words: Sequence[str], place: Path, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unsign(place, scene)
    assert run(list(words)) == 4
    assert "is not signed, and signatures are required" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_a_lock_from_elsewhere_does_not_help(place: Path, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["resolve", CAT, "-o", "modhub.lock"]) == 0
    unsign(place, scene)
    shutil.rmtree(place / "store")
    assert run(["install", "--locked"]) == 4
    assert run(["audit"]) == 4
    assert "is not signed" in capsys.readouterr().out


def test_a_lock_that_calls_a_registry_the_seed_is_not_believed(
    place: Path, scene: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unsign(place, scene)
    monkeypatch.delenv("MODHUB_CONFIG")
    assert run(["install", "-r", "./registry", "--store", "store", CAT]) == 0, "now the bytes are in the store"
    lock = Path("modhub.lock").read_text()
    Path("modhub.lock").write_text(lock.replace((place / "registry").as_uri(), "seed:"))
    monkeypatch.setenv("MODHUB_CONFIG", str(place / "config.toml"))
    assert run(["install", "--locked"]) != 0
    assert "acme/pets" in capsys.readouterr().err


def test_what_comes_with_modhub_needs_no_signature(place: Path) -> None:
    assert place.is_dir()
    assert run(["install", "-r", "seed:", "modhub/resnet20-cifar10/cat"]) == 0


def test_variables_ask_too(place: Path, scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unsign(place, scene)
    monkeypatch.delenv("MODHUB_CONFIG")
    words = ["install", "-r", "./registry", "--store", "store", CAT]
    monkeypatch.setenv("MODHUB_REQUIRE_SIGNATURE", "1")
    assert run(words) == 2, "nobody is trusted"
    monkeypatch.setenv("MODHUB_TRUST", f"acme={scene / 'acme.pub'}")
    assert run(words) == 4
