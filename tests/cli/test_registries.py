"""The commands about registries: tokens, names, mirrors, bundles, marks, audits and the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modhub import flow
from tests.hub.served import Served, served
from tests.support.pets import pets_packages, publish_pets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]

CAT = "acme/pets/cat"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A registry of this test's own."""
    return publish_pets(tmp_path / "modules", "1.0.0", "1.1.0")


def test_the_whole_way_over_a_server(
    call: Call, running: Served, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = call("publish", collection, "--to", running.url, "--name", "acme/way")
    assert refused.code == 5
    assert "Log in with `modhub login REGISTRY`, or set MODHUB_TOKEN." in refused.err
    assert call("whoami", running.url).code == 5
    assert call("login", running.url, "--token", "mh_wrong").code == 5
    assert call("login", running.url, "--token", running.token).out == f"logged in as acme at {running.url}\n"
    assert call("whoami", running.url, "--json").json["user"] == "acme"
    published = call("publish", collection, "--to", running.url, "--name", "acme/way", "--json").json
    assert len(published["published"]) == 5
    assert call("logout", running.url).code == 0
    assert call("logout", running.url).code == 1
    assert call("publish", collection, "--to", running.url, "--name", "acme/way").code == 0
    assert call("install", "acme/way/cat", "class:dog", "-r", running.url).code == 0
    installed = call("install", "--locked", "--json").json
    assert {each["registry"] for each in installed["module"]} == {running.url}
    assert len({each["revision"] for each in installed["module"]}) == 1
    monkeypatch.setenv("MODHUB_OFFLINE", "1")
    assert call("install", "--locked").code == 0
    assert call("compose", "modhub.lock", "-o", "composed").code == 0
    assert call("install", "--locked", "--store", "empty").code == 3


def test_a_private_collection_takes_a_token_to_install(
    call: Call, running: Served, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODHUB_TOKEN", running.token)
    assert call("publish", collection, "--to", running.url, "--name", "acme/secret", "--private").code == 0
    assert call("install", "acme/secret/cat", "-r", running.url).code == 0
    monkeypatch.delenv("MODHUB_TOKEN")
    assert call("install", "--locked", "--store", "new").code == 3
    monkeypatch.setenv("MODHUB_TOKEN", running.token)
    # Only the lock names the registry, and locks come from strangers.
    assert call("install", "--locked", "--store", "new").code == 3
    assert call("install", "--locked", "--store", "new", "-r", running.url).code == 0


def test_a_server_that_is_away_is_exit_code_5(call: Call) -> None:
    answer = call("info", "acme/pets", "-r", "http://127.0.0.1:1")
    assert answer.code == 5
    assert answer.err.startswith("modhub: http://127.0.0.1:1 cannot be reached for acme/pets")


def test_what_is_no_server_takes_no_token(call: Call, modules: Path) -> None:
    for command in ("login", "logout", "whoami"):
        answer = call(command, modules)
        assert (answer.code, "is no server that asks for a token" in answer.err) == (2, True)


def test_releases_are_marked_and_audited(call: Call, modules: Path) -> None:
    assert call("install", CAT, "acme/pets/dog", "-r", modules).code == 0
    assert (call("audit").code, call("audit", "--json").json["findings"]) == (0, [])
    assert call("deprecate", f"{CAT}==1.1.0", "-r", modules, "--reason", "use 2").code == 0
    audited = call("audit", "--json")
    assert audited.code == 0
    (finding,) = audited.json["findings"]
    assert (finding["severity"], finding["kind"], finding["problem"]) == ("warning", "deprecated", "use 2")
    assert call("yank", f"{CAT}==1.1.0", "-r", modules, "--reason", "wrong labels", "--json").json["state"] == "yanked"
    answer = call("audit")
    assert answer.code == 1
    assert "wrong labels" in answer.out
    assert call("install", "--locked").code == 0
    assert call("resolve", CAT, "-r", modules, "--json").json["module"][1]["version"] == "1.0.0"
    assert call("unyank", f"{CAT}==1.1.0", "-r", modules).code == 0
    assert call("deprecate", f"{CAT}==1.1.0", "-r", modules, "--undo").code == 0
    assert call("audit", "--json").json["findings"] == []


def test_an_audit_finds_changed_bytes_and_releases_that_are_gone(call: Call, modules: Path, tmp_path: Path) -> None:
    assert call("install", CAT, "-r", modules).code == 0
    weights = modules / "acme" / "pets" / "cat" / "1.1.0" / "delta.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert call("audit").code == 0
    answer = call("audit", "--store", "new", "--json")
    assert answer.code == 4
    assert [each["kind"] for each in answer.json["findings"]] == ["integrity"]
    lock = tmp_path / "modhub.lock"
    lock.write_text(lock.read_text().replace("acme/pets", "acme/gone"))
    kinds = {each["kind"] for each in call("audit", "--json").json["findings"]}
    assert "unknown" in kinds


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("yank", CAT, "--reason", "x"), 2, "has the versions 1.0.0, 1.1.0: say which"),
        (("yank", f"{CAT}>=1", "--reason", "x"), 2, "names no release: expected one like"),
        (("yank", "class:cat", "--reason", "x"), 2, "names no release: expected one like"),
        (("yank", f"{CAT}==1.0.0", "--reason", " "), 2, "a reason is needed"),
        (("yank", f"{CAT}==7.0.0", "--reason", "x"), 3, "there is no release cat 7.0.0"),
        (("yank", "acme/pets/cow", "--reason", "x"), 3, "has no package 'cow'"),
        (("deprecate", f"{CAT}==1.0.0"), 2, "either --reason or --undo"),
        (("unyank", "acme/cars/bmw==1.0.0"), 3, "there is no release bmw 1.0.0"),
    ],
)
def test_what_cannot_be_marked_is_told(
    call: Call, modules: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    answer = call(*words, "-r", modules)
    assert (answer.code, message in answer.err) == (code, True), answer.err


def test_registries_go_by_names(call: Call, modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "settings.toml"
    monkeypatch.setenv("MODHUB_CONFIG", str(settings))
    assert call("registry", "list", "--json").json == []
    assert call("registry", "add", "work", modules).code == 0
    settings.write_text(settings.read_text() + "# mine\n[search]\nkind = 'module'\n")
    assert call("registry", "add", "hub", "hf://acme", "--json").json["name"] == "hub"
    assert call("registry", "add", "hub", "hf://acme").code == 0
    assert call("registry", "add", "hub", "hf://other").code == 2
    assert [each["name"] for each in call("registry", "list", "--json").json] == ["hub", "work"]
    assert call("search", "cat", "-r", "work").code == 0
    assert call("registry", "remove", "hub").code == 0
    assert call("registry", "remove", "hub").code == 3
    assert "# mine" in settings.read_text()
    assert "work" in call("registry", "list").out
    for name, address in (("a b", "hf://x"), ("good", "nonsense")):
        assert call("registry", "add", name, address).code == 2
    settings.write_text("registries.odd = 'hf://odd'\n")
    assert call("registry", "remove", "odd").code == 2
    settings.write_text("registries = \n")
    assert call("registry", "add", "x", "hf://x").code == 2


def test_a_mirror_and_a_bundle_are_the_same_bytes(call: Call, modules: Path, tmp_path: Path) -> None:
    copied = call("registry", "mirror", modules, "./mirrored", "--json").json
    assert [(each["collection"], len(each["copied"])) for each in copied] == [("acme/pets", 10)]
    assert "the same already" in call("registry", "mirror", modules, "./mirrored").out
    assert call("bundle", "acme/pets", "-r", modules, "-o", "pets.modhub").code == 0
    assert call("search", "cat", "-r", "pets.modhub").code == 0
    assert call("import", "pets.modhub", "--to", "./imported").code == 0
    assert call("import", "nowhere.modhub", "--to", "./imported").code == 3
    assert call("import", modules / "acme" / "pets" / "modhub.json", "--to", "./imported").code == 1
    assert call("bundle", "acme/none", "-r", modules, "-o", "none.modhub").code == 3
    assert not (tmp_path / "none.modhub").exists()
    found = [plain_files(folder) for folder in (modules, tmp_path / "mirrored", tmp_path / "imported")]
    assert found[0] == found[1] == found[2]


def plain_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a registry as other tools see them."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".modhub" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_another_history_is_not_mirrored_over(call: Call, modules: Path) -> None:
    flow.publish(pets_packages("9.0.0"), to="./other", collection="acme/pets")
    answer = call("registry", "mirror", modules, "./other")
    assert answer.code == 5
    assert "a history of its own" in answer.err


def test_the_store_is_looked_after(call: Call, modules: Path, tmp_path: Path) -> None:
    store = tmp_path / "kept"
    words = ("--store", store)
    assert call("install", CAT, "-r", modules, *words).code == 0
    listed = call("cache", "ls", *words, "--json").json
    assert any(name.startswith(f"{CAT} 1.1.0") for each in listed for name in each["names"])
    assert "belongs to" in call("cache", "ls", *words).out
    assert call("cache", "verify", *words).out == f"{len(listed)} files, none damaged\n"
    victim = next(each for each in listed if "acme/pets/base 1.1.0 weights.safetensors" in each["names"])["sha256"]
    path = store / "files" / victim[:2] / victim
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    answer = call("cache", "verify", *words, "--json")
    assert (answer.code, answer.json["damaged"]) == (4, [victim])
    assert call("install", "--locked", *words).code == 0
    assert call("cache", "verify", *words).code == 0
    assert call("cache", "prune", *words, "--json").json == {"files": 0, "bytes": 0}
    assert call("cache", "prune", "--older-than", "1", *words, "--json").json["files"] == 0
    assert call("cache", "prune", "--all", *words, "--json").json["files"] > 3


def test_nothing_is_shown_while_nobody_looks(call: Call, running: Served) -> None:
    answer = call("registry", "mirror", running.url, "./mirrored")
    assert answer.code == 0
    assert "\r" not in answer.err
