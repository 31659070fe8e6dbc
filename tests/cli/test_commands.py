"""Each command as people use it, in words and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub import flow
from modhub.spec.lock import Lock
from tests.support.pets import CLASSES, COLLECTION, pets_packages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]


def test_check_names_every_package(call: Call, collection: Path) -> None:
    answer = call("check", collection)
    assert answer.code == 0
    assert answer.out.endswith("valid: 5 packages, every file hashed\n")
    assert call("check", collection, "--json").json["packages"][0]["name"] == "base"


def test_check_takes_one_package_too(call: Call, collection: Path) -> None:
    assert call("check", collection / "cat" / "1.0.0").out.endswith("valid: 1 package, every file hashed\n")


def test_check_tells_all_problems_as_json(call: Call, tmp_path: Path) -> None:
    folder = flow.write_collection(pets_packages(), tmp_path / "broken")
    (folder / "cat/1.0.0/delta.safetensors").write_bytes(b"nonsense")
    (folder / "dog/1.0.0/module.json").write_bytes(b"{}")
    answer = call("check", folder, "--json")
    assert answer.code == 1
    assert not answer.json["valid"]
    assert {problem["file"].split("/")[0] for problem in answer.json["problems"]} == {"cat", "dog"}


def test_publish_is_one_commit_and_saying_it_twice_is_fine(call: Call, collection: Path, tmp_path: Path) -> None:
    words = ("publish", collection, "--to", tmp_path / "modules", "--name", COLLECTION)
    rehearsal = call(*words, "--dry-run")
    assert rehearsal.out.startswith("would publish 5 releases")
    assert not (tmp_path / "modules").exists()
    first = call(*words, "--json").json
    assert (len(first["published"]), first["unchanged"]) == (5, [])
    again = call(*words)
    assert (again.code, "with the same bytes" in again.out) == (0, True)


def test_publish_names_the_collection_after_the_folder(call: Call, collection: Path, tmp_path: Path) -> None:
    assert call("publish", collection, "--to", tmp_path / "modules", "--json").json["collection"] == "local/pets"


def test_search_finds_the_best_first(call: Call, registry: Path) -> None:
    answer = call("search", "cat", "-r", registry)
    assert answer.code == 0
    assert answer.out.splitlines()[1].startswith("acme/pets/cat")
    hits = call("search", "cat", "-r", registry, "--json").json
    assert (hits[0]["name"], hits[0]["version"]) == ("acme/pets/cat", "1.1.0")


def test_search_without_a_word_lists_everything(call: Call, registry: Path) -> None:
    assert len(call("search", "-r", registry, "--kind", "module", "--json").json) == len(CLASSES)


def test_search_that_finds_nothing_is_a_no(call: Call, registry: Path) -> None:
    answer = call("search", "unicorn", "-r", registry)
    assert (answer.code, answer.out, answer.err) == (1, "", "nothing found\n")
    assert call("search", "unicorn", "-r", registry, "--json").json == []


def test_info_shows_a_collection_and_a_package(call: Call, registry: Path) -> None:
    assert "revision 2" in call("info", COLLECTION, "-r", registry).out
    package = call("info", "acme/pets/cat", "-r", registry)
    assert "versions   1.0.0, 1.1.0" in package.out
    assert "needs      ./base ==1.1.0" in package.out
    found = call("info", "acme/pets/base", "-r", registry, "--json").json
    assert found["dependents"] == sorted(f"acme/pets/{name}" for name in CLASSES)


def test_resolve_prints_a_lock(call: Call, registry: Path) -> None:
    answer = call("resolve", "class:cat", "acme/pets/dog==1.1.0", "-r", registry)
    lock = Lock.from_toml(answer.out)
    assert [module.name for module in lock.modules] == ["acme/pets/base", "acme/pets/cat", "acme/pets/dog"]


def test_resolve_says_why(call: Call, registry: Path) -> None:
    answer = call("resolve", "acme/pets/cat<1.1", "--explain", "-r", registry)
    assert "  asked for by acme/pets/cat<1.1\n  newest that will do; passed over: 1.1.0\n" in answer.out
    assert "  needed by acme/pets/cat" in answer.out
    choices = call("resolve", "class:dog", "--explain", "-r", registry, "--json").json["choices"]
    assert choices[1]["reasons"] == [
        "asked for by class:dog",
        "the only package that scores it",
        "newest of 2 versions",
    ]


def test_resolve_keeps_the_versions_of_a_lock_until_told_otherwise(call: Call, registry: Path, tmp_path: Path) -> None:
    lock = tmp_path / "modhub.lock"
    call("resolve", "acme/pets/cat==1.0.0", "-r", registry, "-o", lock)
    kept = call("resolve", "acme/pets/cat", "-r", registry, "-o", lock, "--explain")
    assert "1.0.0 kept from the lock, newest is 1.1.0" in kept.out
    call("resolve", "acme/pets/cat", "-r", registry, "-o", lock, "--upgrade")
    assert {module.version for module in Lock.from_toml(lock.read_text("utf-8")).modules} == {"1.1.0"}


def test_install_writes_a_lock_and_repeats_it(call: Call, registry: Path, tmp_path: Path) -> None:
    first = call("install", "acme/pets/cat==1.0.0", "-r", registry, "--store", "store")
    assert (first.code, "wrote modhub.lock" in first.err) == (0, True)
    text = (tmp_path / "modhub.lock").read_text("utf-8")
    assert call("install", "--locked", "--store", "store").code == 0
    assert (tmp_path / "modhub.lock").read_text("utf-8") == text


def test_install_keeps_versions_and_upgrades_on_demand(call: Call, registry: Path) -> None:
    call("install", "acme/pets/cat==1.0.0", "-r", registry)
    kept = call("install", "acme/pets/cat", "-r", registry, "--json").json
    assert {module["version"] for module in kept["module"]} == {"1.0.0"}
    # The lock says where it was resolved, so nobody has to say it again.
    newer = call("install", "--upgrade", "--json").json
    assert {module["version"] for module in newer["module"]} == {"1.1.0"}


def test_a_locked_install_fetches_from_where_the_lock_says(call: Call, registry: Path) -> None:
    call("install", "class:cat", "-r", registry, "--store", "one")
    assert call("install", "--locked", "--store", "another").code == 0


def test_compose_takes_requirements_locks_and_folders(call: Call, registry: Path, collection: Path) -> None:
    call("install", "acme/pets/horse", "class:cat", "-r", registry)
    cases = {
        "asked": ("acme/pets/horse", "class:cat", "-r", registry),
        "locked": ("modhub.lock",),
        "folders": (collection / "horse/1.0.0", collection / "cat/1.0.0"),
        "mixed": (collection / "horse/1.0.0", "acme/pets/cat", "-r", registry),
    }
    for name, words in cases.items():
        answer = call("compose", *words, "-o", name)
        assert (answer.code, answer.err) == (0, f"next: modhub run {name} IMAGE...\n"), answer.err
        assert f"composed 2 modules into {name}: scores of horse, cat" in answer.out
        assert call("check", name).code == 0


def test_a_collection_folder_is_composed_in_its_parents_order(call: Call, collection: Path) -> None:
    manifest = call("compose", collection, "-o", "all", "--json").json["manifest"]
    assert [label["name"] for label in manifest["classes"]] == list(CLASSES)


def test_of_several_versions_in_a_folder_the_newest_is_composed(call: Call, registry: Path) -> None:
    answer = call("compose", registry / COLLECTION, "-o", "all")
    assert "composed 4 modules" in answer.out


def test_a_folder_that_looks_like_a_name_is_still_a_folder(call: Call, collection: Path, tmp_path: Path) -> None:
    flow.write_package(flow.check(collection / "cat/1.0.0")[0], tmp_path / "a" / "b" / "cat")
    assert "composed 1 module into" in call("compose", "a/b/cat", "-o", "one").out


def test_run_shows_the_best_classes(call: Call, collection: Path, data: Path) -> None:
    call("compose", collection, "-o", "all")
    answer = call("run", "all", data, "--top", "2")
    header, first, *_ = answer.out.splitlines()
    assert header.split() == ["input", "#1", "#2"]
    assert first.startswith(f"{data}[0]")
    assert first.endswith("%")


def test_run_gives_the_same_scores_in_both_engines(call: Call, collection: Path, data: Path) -> None:
    target = collection / "cat/1.0.0"
    fast, slow = (call("run", target, data, "--engine", e, "--json").json for e in ("onnxruntime", "torch"))
    one, two = ([item["scores"][0]["score"] for item in answers] for answers in (fast, slow))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_raw_logits_are_not_shown_as_probabilities(call: Call, model: Path, data: Path) -> None:
    assert "%" not in call("run", model, data).out
    assert call("run", model, data, "--json").json[0]["scores"][0]["probability"] is None


@pytest.mark.parametrize("target", ["cat", "base", "composite", "onnx"])
def test_evaluate_measures_whatever_scores(call: Call, collection: Path, model: Path, data: Path, target: str) -> None:
    call("compose", collection, "-o", "all")
    path = {"composite": "all", "onnx": model}.get(target, collection / target / "1.0.0")
    found = call("evaluate", path, "--data", data, "--json").json
    assert found["columns"] == (["cat"] if target == "cat" else list(CLASSES))
    assert (found["accuracy"] is None) == (target == "cat")
    assert (found["calibration_error"] is None) == (target in ("base", "onnx"))
    answer = call("evaluate", path, "--data", data, "--limit", "8")
    assert (answer.code, "MACs" in answer.out) == (0, True)


def test_quiet_says_nothing_beside_the_result(call: Call, collection: Path) -> None:
    assert call("--quiet", "publish", collection, "--to", "./modules").err == ""
