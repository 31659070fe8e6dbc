"""A release that changed after it was first seen is refused with exit code 4; owners that look alike are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from modhub import flow
from modhub.cli.main import run
from modhub.spec.lookalikes import is_near
from tests.support.pets import pets_packages, publish_pets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STORE = ["--store", "store"]


def rewrite(registry: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Let the registry show another index than it did, under the same number."""
    plain = registry / "acme" / "pets"
    (newest,) = sorted((plain / ".modhub" / "index").glob("*.json"))[-1:]
    index = json.loads(newest.read_text())
    change(index)
    for path in (newest, plain / "modhub.json"):
        path.write_text(json.dumps(index))


def other_bytes(index: dict[str, Any]) -> None:
    """Give a listed version another manifest."""
    (cat,) = [release for release in index["releases"] if release["name"] == "cat"]
    cat["manifest"]["sha256"] = "0" * 64


def without_a_release(index: dict[str, Any]) -> None:
    """Hide a release."""
    index["releases"] = [release for release in index["releases"] if release["name"] != "dog"]


@pytest.mark.parametrize("change", [other_bytes, without_a_release], ids=["other bytes", "a release is gone"])
def test_history_that_was_rewritten_is_refused_with_exit_code_4(
    change: Callable[[dict[str, Any]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    registry = publish_pets(tmp_path / "registry", "1.0.0")
    install = ["install", "-r", "./registry", *STORE, "acme/pets/cat"]
    assert run(install) == 0
    rewrite(registry, change)
    assert run(["install", "-r", "./registry", *STORE, "--locked"]) == 0, (
        "the lock pins digests, and the store has them"
    )
    (tmp_path / "modhub.lock").unlink()
    capsys.readouterr()
    assert run(install) == 4
    assert "is not the one seen before" in capsys.readouterr().err


def test_files_that_were_changed_on_the_registry_are_refused_with_exit_code_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    registry = publish_pets(tmp_path / "registry", "1.0.0")
    assert run(["resolve", "-r", "./registry", *STORE, "acme/pets/cat", "-o", "modhub.lock"]) == 0
    delta = registry / "acme" / "pets" / "cat" / "1.0.0" / "delta.safetensors"
    data = bytearray(delta.read_bytes())
    data[-1] ^= 1
    delta.write_bytes(data)
    assert run(["install", "-r", "./registry", *STORE, "--locked"]) == 4


@pytest.mark.parametrize("name", ["acrne", "acne", "amce", "acmee", "acm3", "ac-me"])
def test_an_owner_who_looks_like_another_is_told_of(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name in {"acrne", "amce"}:
        monkeypatch.chdir(tmp_path)
        publish_pets(tmp_path / "registry", "1.0.0")
        flow.write_collection(pets_packages(), tmp_path / "pets")
        capsys.readouterr()
        assert run(["publish", "pets", "--to", "./registry", "--name", f"{name}/pets", *STORE]) == 0
        assert f"{name} is easily mistaken for acme" in capsys.readouterr().err
    assert is_near(name, "acme")


@pytest.mark.parametrize("pair", ["acme zebra", "team1 team2", "cat car", "acme acmeorg", "abcd badc"])
def test_names_that_differ_are_not_confused(pair: str) -> None:
    first, second = pair.split()
    assert not is_near(first, second)
