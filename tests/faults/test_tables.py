"""C2: one table of names, versions, references and paths; schema, Python, command line and server agree on each."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from modhub.cli.main import run
from modhub.errors import ModhubError
from modhub.hub.publication import release_of
from modhub.package.package import Package
from modhub.spec.digests import sha256
from modhub.spec.index import Index
from modhub.spec.manifest import Manifest
from modhub.spec.names import CollectionId, PackageId, check_file_name
from modhub.spec.requirements import parse_requirement
from modhub.spec.schema import validate
from modhub.spec.versions import parse_version
from tests.hub.packages import module
from tests.server.collections import lines
from tests.server.service import header, served
from tests.support.pets import publish_pets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.server.service import Service
    from tests.support.figures import Figures

NAMES = {
    **dict.fromkeys(["cat", "c9", "9", "a-b", "a.b", "a_b", "cat-2", "t-shirt", "a1.b2_c3-d4", "x" * 96], True),
    **dict.fromkeys("con nul prn aux com1 lpt9 nul.txt con.a readme.md modhub.json".split(), False),
    **dict.fromkeys(
        ["", " ", "cat ", " cat", "cat\n", "c at", "Cat", "CAT", "cät", "猫", "ca\u0301t", "x" * 97], False
    ),
    **dict.fromkeys(["-cat", "cat-", ".cat", "cat.", "_cat", "a--b", "a..b", "a__b", "a.-b", "..", ".", "~"], False),
    **dict.fromkeys(["a/b", "a\\b", "a:b", "a*", "a?", 'a"', "a'", "a<b", "a|b", "a\x00b", "a\x1b[0m", "a%2fb"], False),
    **dict.fromkeys(
        ["a@b", "a[b]", "a=1", "a>1", "a,b", "a;b", "a#b", "a$b", "$(id)", "`id`", "{x}", "a\u202eb"], False
    ),
    **dict.fromkeys(["\u0663", "a\u200bb", "\uff41", "ﬁ", "İ", "ß"], False),
}
VERSIONS = {
    **dict.fromkeys("0.0.0 1.2.3 10.20.30 1.0.0a1 1.0.0b2 1.0.0rc10 999999.0.1 0.0.1a0".split(), True),
    **dict.fromkeys("1 1.2 1.2.3.4 v1.2.3 01.2.3 1.02.3 1.2.03 1.2.3-1 1.2.3+x 1.2.3.dev1 1.2.3.post1".split(), False),
    **dict.fromkeys("1.2.3a 1.2.3a01 1.2.3alpha1 1.2.3-rc1 1!1.2.3 latest * ==1.2.3 ^1.2.3 1.2.x".split(), False),
    **dict.fromkeys(["", " ", "1.2.3 ", " 1.2.3", "1.2.3\n", "1. 2.3", "1.2.\u0663", "\uff11.2.3"], False),
    **dict.fromkeys(
        ["9" * 65 + ".0.0", "1.2.3" + "0" * 60, "1.2.3\x00", "1.2.3/..", "../1.2.3", "1.2.3;x", "-1.2.3", "1_0.2.3"],
        False,
    ),
}
PATHS = {
    **dict.fromkeys(["model.onnx", "weights.safetensors", "a.b.c", "A_b-c.d", "_x", "x", "x" * 128], True),
    **dict.fromkeys(
        ["", ".", "..", "../x", "a/b", "/x", "./x", "x/", "a//b", "a\\b", "C:x", "C:\\x", "\\\\x\\y"], False
    ),
    **dict.fromkeys(
        [".hidden", "x.", "x..y", "-x", "x ", " x", "x\n", "x\x00", "x:y", "x*", "x?", "~x", "ä", "x" * 129], False
    ),
    **dict.fromkeys(
        ["con", "NUL", "nul.txt", "com1.onnx", "Aux", "%2e%2e", "x%00", "file://x", "a\u202eb", "a|b", "a<b"], False
    ),
}
COLLECTIONS = {
    **dict.fromkeys("acme/pets a/b A.b-c_d/E9 acme/Pets-2 9/9".split(), True),
    **dict.fromkeys(["", "acme", "/", "acme/", "/pets", "a/b/c", "a//b", "../pets", "acme/..", "acme/."], False),
    **dict.fromkeys(
        ["acme/pe ts", "acme/pets ", "acme/pets\n", "acme/pä", "acme/a--b", "acme/a..b", "acme/x.git"], False
    ),
    **dict.fromkeys(
        ["con/pets", "acme/nul", "acme/-x", "acme/x-", "acme/.x", "acme/x.", "a@b/c", "acme/x\x00", "acme/%2e"], False
    ),
    **dict.fromkeys(
        ["acme/" + "x" * 97, "x" * 97 + "/pets", "acme/con.txt", "acme\\pets", "~/pets", "$HOME/pets"], False
    ),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry that looks at indexes and digests."""
    with served(tmp_path_factory.mktemp("served"), checks="index") as found:
        yield found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is a registry."""
    return publish_pets(tmp_path_factory.mktemp("registry") / "modules", "1.0.0")


def accepted(parse: Callable[..., object], *arguments: object, **options: object) -> bool:
    """Tell whether Python takes a value."""
    try:
        parse(*arguments, **options)
    except ModhubError:
        return False
    return True


def exit_code(*words: object) -> int:
    """Return the exit code of a command."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        return run([str(word) for word in words])


def document(**changes: str) -> dict[str, Any]:
    """Return the manifest of a small module, with some words changed."""
    found: dict[str, Any] = json.loads(module().files["module.json"])
    files = found["forms"]["standalone"]
    if (path := changes.pop("path", None)) is not None:
        files[0]["path"] = path
    return {**found, **changes}


def committed(service: Service, number: int, *, name: str = "cat", version: str = "1.0.0", path: str = "") -> bool:
    """Tell whether a server takes a collection with a release of this name and version, and a file of this name."""
    good = module()
    manifest = document(name=name, version=version, **({"path": path} if path else {}))
    data = json.dumps(manifest).encode()
    entry = release_of(good).to_dict()
    entry |= {"name": name, "version": version, "forms": manifest["forms"]}
    entry["manifest"] = {"path": "module.json", "size": len(data), "sha256": sha256(data)}
    index = {**Index().adding([release_of(good)], previous=sha256(Index().to_json())).to_dict(), "releases": [entry]}
    files = {"modhub.json": json.dumps(index).encode(), f"{name}/{version}/module.json": data}
    contents = list(good.files.items())
    first = path or manifest["forms"]["standalone"][0]["path"]
    for old, content in contents:
        if old != "module.json":
            files[f"{name}/{version}/{first if old == 'delta.safetensors' else old}"] = content
    repo = f"alice/r{number}"
    assert service.call("POST", "/api/repos/create", {"name": f"r{number}"}, user="alice").status == 200
    return service.commit(repo, header(), *lines(files)).status == 200


def disagreements(table: dict[str, bool], verdicts: Callable[[int, str], dict[str, bool]]) -> list[str]:
    """Return where somebody sees a value otherwise than the table."""
    found = []
    for number, (text, expected) in enumerate(table.items()):
        said = verdicts(number, text)
        found += [f"{who} on {text!r}: {verdict}" for who, verdict in said.items() if verdict != expected]
    return found


def test_all_agree_on_the_names_of_packages(service: Service, registry: Path, figures: Figures) -> None:
    def verdicts(number: int, text: str) -> dict[str, bool]:
        return {
            "schema": not validate(document(name=text), "manifest"),
            "Python": accepted(PackageId, CollectionId("acme", "pets"), text),
            "manifest": accepted(Manifest.from_dict, document(name=text)),
            "command line": "\x00" not in text
            and exit_code("yank", f"acme/pets/{text}==7.7.7", "-r", registry, "--reason", "x") == 3,
            "server": committed(service, number, name=text),
        }

    assert disagreements(NAMES, verdicts) == []
    figures.tell("C2", "names of packages", values=len(NAMES), readers=5, disagreements=0)


def test_all_agree_on_versions(service: Service, registry: Path, figures: Figures) -> None:
    def verdicts(number: int, text: str) -> dict[str, bool]:
        return {
            "schema": not validate(document(version=text), "manifest"),
            "Python": accepted(parse_version, text),
            "manifest": accepted(Manifest.from_dict, document(version=text)),
            "command line": "\x00" not in text
            and exit_code("yank", f"acme/pets/none=={text}", "-r", registry, "--reason", "x") == 3,
            "server": committed(service, 1000 + number, version=text),
        }

    assert disagreements(VERSIONS, verdicts) == []
    figures.tell("C2", "versions", values=len(VERSIONS), readers=5, disagreements=0)


def test_all_agree_on_the_names_of_files(service: Service, tmp_path: Path, figures: Figures) -> None:
    def verdicts(number: int, text: str) -> dict[str, bool]:
        folder = tmp_path / f"p{number}" / "cat" / "1.0.0"
        folder.mkdir(parents=True)
        return {
            "schema": not validate(document(path=text), "manifest"),
            "Python": accepted(check_file_name, text),
            "manifest": accepted(Manifest.from_dict, document(path=text)),
            "server": bool(text) and committed(service, 2000 + number, path=text),
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
            "requirement": accepted(as_package, text),
            "command line": "\x00" not in text
            and exit_code("yank", f"{text}/none==1.0.0", "-r", registry, "--reason", "x") == 3,
            "server": made in {200, 409},
        }

    assert disagreements(COLLECTIONS, verdicts) == []
    figures.tell("C2", "names of collections", values=len(COLLECTIONS), readers=4, disagreements=0)


def as_package(collection: str) -> None:
    """Read a requirement of a package in a collection; a path is none."""
    from modhub.errors import InvalidRequirement
    from modhub.spec.requirements import PackageRequirement

    if not isinstance(parse_requirement(f"{collection}/cat"), PackageRequirement):
        raise InvalidRequirement("a path")


def test_what_is_accepted_is_written_and_read_again() -> None:
    for name, good in NAMES.items():
        if good:
            package = module(name)
            assert (
                Manifest.from_json(Package(manifest=package.manifest, files=package.files).files["module.json"]).name
                == name
            )
