"""C2: one table of names, versions, references and paths; schema, Python, command line and server agree on each."""

from __future__ import annotations

import contextlib
import io
import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from modhub.cli.main import run
from modhub.errors import ModhubError
from modhub.hub.publication import release_of
from modhub.spec.digests import sha256
from modhub.spec.index import Index
from modhub.spec.lock import Lock
from modhub.spec.manifest import Manifest
from modhub.spec.names import CollectionId, PackageId, check_file_name
from modhub.spec.requirements import PackageRequirement, parse_requirement
from modhub.spec.schema import validate
from modhub.spec.versions import parse_version
from tests.hub.packages import PETS, RUNTIME, locked, module
from tests.server.collections import lines
from tests.server.service import header, served
from tests.support.pets import publish_pets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.server.service import Service
    from tests.support.figures import Figures

NOT_FOUND = 3
"""The exit code of a command that understood a name, and found nothing."""


def table(good: str | list[str], *bad: list[str]) -> dict[str, bool]:
    """Return texts, and whether they are good."""
    taken = good.split() if isinstance(good, str) else good
    return dict.fromkeys(taken, True) | {text: False for texts in bad for text in texts}


NAMES = table(
    ["cat", "c9", "9", "a-b", "a.b", "a_b", "cat-2", "t-shirt", "a1.b2_c3-d4", "x" * 96],
    "con nul prn aux com1 lpt9 nul.txt con.a readme.md modhub.json".split(),
    ["", " ", "cat ", " cat", "cat\n", "c at", "Cat", "CAT", "cät", "猫", "ca\u0301t", "x" * 97],
    ["-cat", "cat-", ".cat", "cat.", "_cat", "a--b", "a..b", "a__b", "a.-b", "..", ".", "~"],
    ["a/b", "a\\b", "a:b", "a*", "a?", 'a"', "a'", "a<b", "a|b", "a\x00b", "a\x1b[0m", "a%2fb"],
    ["a@b", "a[b]", "a=1", "a>1", "a,b", "a;b", "a#b", "a$b", "$(id)", "`id`", "{x}", "a\u202eb"],
    ["\u0663", "a\u200bb", "\uff41", "ﬁ", "İ", "ß"],
)
VERSIONS = table(
    "0.0.0 1.2.3 10.20.30 1.0.0a1 1.0.0b2 1.0.0rc10 999999.0.1 0.0.1a0",
    "1 1.2 1.2.3.4 v1.2.3 01.2.3 1.02.3 1.2.03 1.2.3-1 1.2.3+x 1.2.3.dev1 1.2.3.post1 1.2.* 1.2.3,==1.2.4".split(),
    "1.2.3a 1.2.3a01 1.2.3alpha1 1.2.3-rc1 1!1.2.3 latest * ==1.2.3 ^1.2.3 1.2.x".split(),
    ["", " ", "1.2.3 ", " 1.2.3", "1.2.3\n", "1. 2.3", "1.2.\u0663", "\uff11.2.3", "1.2.3 @ ./modules"],
    ["9" * 65 + ".0.0", "1.2.3" + "0" * 60, "1.2.3\x00", "1.2.3/..", "../1.2.3", "1.2.3;x", "-1.2.3", "1_0.2.3"],
)
PATHS = table(
    ["model.onnx", "weights.safetensors", "a.b.c", "A_b-c.d", "_x", "x", "x" * 128],
    ["", ".", "..", "../x", "a/b", "/x", "./x", "x/", "a//b", "a\\b", "C:x", "C:\\x", "\\\\x\\y"],
    [".hidden", "x.", "x..y", "-x", "x ", " x", "x\n", "x\x00", "x:y", "x*", "x?", "~x", "ä", "x" * 129],
    ["con", "NUL", "nul.txt", "com1.onnx", "Aux", "%2e%2e", "x%00", "file://x", "a\u202eb", "a|b", "a<b"],
)
COLLECTIONS = table(
    ["acme/pets", "a/b", "A.b-c_d/E9", "acme/Pets-2", "9/9", "acme/" + "x" * 96, "x" * 96 + "/" + "y" * 96],
    ["", "acme", "/", "acme/", "/pets", "a/b/c", "a//b", "../pets", "acme/..", "acme/."],
    ["acme/pe ts", "acme/pets ", "acme/pets\n", "acme/pä", "acme/a--b", "acme/a..b", "acme/x.git", "a.GIT/pets"],
    ["con/pets", "acme/nul", "acme/-x", "acme/x-", "acme/.x", "acme/x.", "a@b/c", "acme/x\x00", "acme/%2e"],
    ["acme/" + "x" * 97, "x" * 97 + "/pets", "acme/con.txt", "acme\\pets", "~/pets", "$HOME/pets", "acme/COM1.x"],
)
COMMAND_LINE = "\x00"
"""No argument of a command can hold it."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry that looks at indexes and digests."""
    with served(tmp_path_factory.mktemp("served"), checks="index") as found:
        yield found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is a registry."""
    return publish_pets(tmp_path_factory.mktemp("registry") / "modules", "1.0.0")


def accepted(parse: Callable[..., object], *arguments: object) -> bool:
    """Tell whether Python takes a value."""
    try:
        parse(*arguments)
    except ModhubError:
        return False
    return True


def understood(registry: Path, release: str) -> bool:
    """Tell whether the command line takes the name of a release that is not there."""
    if COMMAND_LINE in release:
        return False
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        return run(["yank", release, "-r", str(registry), "--reason", "x"]) == NOT_FOUND


def document(*, path: str | None = None, **changes: str) -> dict[str, Any]:
    """Return the manifest of a small module with some words changed; with a path, it has one file, called so."""
    found: dict[str, Any] = json.loads(module().read("module.json"))
    files = found["forms"]["standalone"]
    if path is not None:
        found["forms"]["standalone"] = [{**files[0], "path": path}]
    return found | changes


def committed(service: Service, repo: str, manifest: dict[str, Any]) -> bool:
    """Tell whether a server takes a collection with one release, as a manifest says it."""
    good, name, version = module(), manifest["name"], manifest["version"]
    records, data = manifest["forms"]["standalone"], json.dumps(manifest).encode()
    contents = {record.sha256: good.read(record.path) for record in good.manifest.forms["standalone"]}
    entry = release_of(good).to_dict() | {"name": name, "version": version, "forms": manifest["forms"]}
    entry["manifest"] = {"path": "module.json", "size": len(data), "sha256": sha256(data)}
    index = Index().adding([release_of(good)], previous=sha256(Index().to_json())).to_dict() | {"releases": [entry]}
    files = {"modhub.json": json.dumps(index).encode(), f"{name}/{version}/module.json": data}
    files |= {f"{name}/{version}/{record['path']}": contents[record["sha256"]] for record in records}
    assert service.call("POST", "/api/repos/create", {"name": repo}, user="alice").status == 200
    return service.commit(f"alice/{repo}", header(), *lines(files)).status == 200


def lock_text(name: str) -> str:
    """Return a lock of one module that is called so."""
    module_ = locked(release_of(module()), registry="./modules")
    text = Lock(created_by="tests", requirements=(), modules=(module_,), target=RUNTIME).to_toml()
    return text.replace(json.dumps(str(PETS.package("cat"))), json.dumps(name))


def as_package(text: str) -> None:
    """Read a requirement that is the name of a package and nothing else."""
    found = parse_requirement(text)
    if not isinstance(found, PackageRequirement) or str(found.package) != text:
        raise ModhubError(text)


def disagreements(expected: dict[str, bool], verdicts: Callable[[int, str], dict[str, bool]]) -> list[str]:
    """Return where somebody sees a value otherwise than the table."""
    return [
        f"{who} on {text!r}: {verdict}"
        for number, (text, good) in enumerate(expected.items())
        for who, verdict in verdicts(number, text).items()
        if verdict != good
    ]


def test_all_agree_on_the_names_of_packages(service: Service, registry: Path, figures: Figures) -> None:
    def verdicts(number: int, text: str) -> dict[str, bool]:
        manifest = document(name=text)
        return {
            "schema": not validate(manifest, "manifest"),
            "Python": accepted(PackageId, PETS, text),
            "manifest": accepted(Manifest.from_dict, manifest),
            "command line": understood(registry, f"acme/pets/{text}==7.7.7"),
            "server": committed(service, f"n{number}", manifest),
        }

    assert disagreements(NAMES, verdicts) == []
    figures.tell("C2", "names of packages", values=len(NAMES), readers=5, disagreements=0)


def test_all_agree_on_versions(service: Service, registry: Path, figures: Figures) -> None:
    def verdicts(number: int, text: str) -> dict[str, bool]:
        manifest = document(version=text)
        return {
            "schema": not validate(manifest, "manifest"),
            "Python": accepted(parse_version, text),
            "manifest": accepted(Manifest.from_dict, manifest),
            "command line": understood(registry, f"acme/pets/none=={text}"),
            "server": committed(service, f"v{number}", manifest),
        }

    assert disagreements(VERSIONS, verdicts) == []
    figures.tell("C2", "versions", values=len(VERSIONS), readers=5, disagreements=0)


def test_all_agree_on_the_names_of_files(service: Service, figures: Figures) -> None:
    def verdicts(number: int, text: str) -> dict[str, bool]:
        manifest = document(path=text)
        return {
            "schema": not validate(manifest, "manifest"),
            "Python": accepted(check_file_name, text),
            "manifest": accepted(Manifest.from_dict, manifest),
            "server": committed(service, f"p{number}", manifest),
        }

    assert disagreements(PATHS, verdicts) == []
    figures.tell("C2", "names of files", values=len(PATHS), readers=4, disagreements=0)


def test_all_agree_on_the_names_of_collections(service: Service, registry: Path, figures: Figures) -> None:
    def verdicts(_: int, text: str) -> dict[str, bool]:
        owner, _slash, name = text.partition("/")
        body = {"name": name, "organization": owner}
        made = service.call("POST", "/api/repos/create", body, user="root", scope="admin").status
        return {
            "Python": accepted(CollectionId.parse, text),
            "requirement": accepted(as_package, f"{text}/cat"),
            "command line": understood(registry, f"{text}/none==1.0.0"),
            "schema": not validate(tomllib.loads(lock_text(f"{text}/cat")), "lock"),
            "lock": accepted(Lock.from_toml, lock_text(f"{text}/cat")),
            "server": made == 200,
        }

    assert disagreements(COLLECTIONS, verdicts) == []
    figures.tell("C2", "names of collections", values=len(COLLECTIONS), readers=6, disagreements=0)


def test_all_agree_on_the_packages_that_a_lock_names(figures: Figures) -> None:
    def verdicts(_: int, text: str) -> dict[str, bool]:
        lock = lock_text(f"acme/pets/{text}")
        dependency = {"package": f"acme/pets/{text}", "version": "==1.0.0", "sha256": "a" * 64}
        needed = document() | {"dependencies": [dependency]}
        return {
            "Python": accepted(PackageId.parse, f"acme/pets/{text}"),
            "requirement": accepted(as_package, f"acme/pets/{text}"),
            "schema": not validate(tomllib.loads(lock), "lock"),
            "lock": accepted(Lock.from_toml, lock),
            "schema of what is needed": not validate(needed, "manifest"),
            "what is needed": accepted(Manifest.from_dict, needed),
        }

    assert disagreements(NAMES, verdicts) == []
    figures.tell("C2", "references to packages", values=len(NAMES), readers=6, disagreements=0)


@pytest.mark.parametrize(
    "reference",
    ["acme/pets/none[delta]==1.0.0", "acme/pets/none==1.0.0@sha256:" + "a" * 64, "acme/pets/none===1.0.0", "./none"],
)
def test_a_reference_to_one_release_is_no_requirement(registry: Path, reference: str) -> None:
    assert not understood(registry, reference)
