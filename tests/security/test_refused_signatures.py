"""Signatures that must not count, judged by modhub and by the command line of model-signing itself."""

from __future__ import annotations

import base64
import copy
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing._cli import main as upstream

from modhub.errors import IntegrityError
from modhub.package.signing import SIGNATURE_BYTES, TrustedKey, check_signature, sign
from tests.security.test_signatures import write_key

if TYPE_CHECKING:
    from collections.abc import Callable

CAT, VERSION = "acme/pets/cat", "1.0.0"
GOLDEN = Path(__file__).with_name("golden") / "signature-1"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A signed package, as a thief may have left it.

    Args:
        bundle: the signature, parsed; or whatever else lies where it should.
        manifest: the bytes of `module.json`.
        public: the key that its user trusts.
        owner: for whose packages.
        package: what its user asked for.
        version: and in which version.
        folder: what upstream's folder is called.
        more: more files in it.
    """

    bundle: Any
    manifest: bytes
    public: Path
    owner: str = "acme"
    package: str = CAT
    version: str = VERSION
    folder: str = "acme@pets@cat@1.0.0"
    more: dict[str, bytes] = field(default_factory=dict)

    @property
    def signature(self) -> str:
        return self.bundle if isinstance(self.bundle, str) else json.dumps(self.bundle)

    def edited(self, change: Callable[[dict[str, Any]], object]) -> Scene:
        """Return the scene with its statement changed."""
        bundle = copy.deepcopy(self.bundle)
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        change(statement)
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        return replace(self, bundle=bundle)

    def enveloped(self, change: Callable[[dict[str, Any]], object]) -> Scene:
        """Return the scene with its bundle changed."""
        bundle = copy.deepcopy(self.bundle)
        change(bundle)
        return replace(self, bundle=bundle)


def ours(scene: Scene) -> str | None:
    """Return why modhub refuses a scene, or None."""
    key = TrustedKey.parse(f"{scene.owner}={scene.public}")
    try:
        check_signature(scene.signature, scene.manifest, package=scene.package, version=scene.version, keys=[key])
    except IntegrityError as error:
        return str(error)
    return None


def theirs(scene: Scene, place: Path, *, everything: bool = True) -> bool:
    """Tell whether upstream's command line accepts a scene."""
    folder, bundle = place / scene.folder, place / "bundle"
    for name, data in {"module.json": scene.manifest, **scene.more}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    bundle.write_text(scene.signature)
    words = ["verify", "key", "--signature", str(bundle), "--public_key", str(scene.public)]
    done = CliRunner().invoke(upstream, [*words, *(["--no-ignore-git-paths"] if everything else []), str(folder)])
    return done.exit_code == 0


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys of Acme and Mallory, and a large one."""
    folder = tmp_path_factory.mktemp("keys")
    write_key(folder, "acme")
    write_key(folder, "mallory")
    write_key(folder, "large", curve=ec.SECP384R1())
    return folder


@pytest.fixture(scope="module")
def good(keys: Path) -> Scene:
    """What Acme signed."""
    manifest = (GOLDEN / "module.json").read_bytes()
    text = sign(manifest, package=CAT, version=VERSION, key=keys / "acme.pem")
    return Scene(bundle=json.loads(text), manifest=manifest, public=keys / "acme.pub")


def signed_as(scene: Scene, *, key: str = "acme", package: str = CAT, version: str = VERSION) -> Scene:
    """Return a scene that somebody really signed, as something."""
    text = sign(scene.manifest, package=package, version=version, key=scene.public.with_name(f"{key}.pem"))
    return replace(scene, bundle=json.loads(text))


def with_hint(scene: Scene, hint: str) -> Scene:
    return scene.enveloped(lambda it: it["verificationMaterial"]["publicKey"].update(hint=hint))


def hint_of(scene: Scene) -> str:
    return str(scene.bundle["verificationMaterial"]["publicKey"]["hint"])


def flipped(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    return base64.b64encode(data).decode()


def signatures(bundle: dict[str, Any]) -> list[Any]:
    found: list[Any] = bundle["dsseEnvelope"]["signatures"]
    return found


REFUSED_BY_BOTH: dict[str, Callable[[Scene], Scene]] = {
    "a byte of the manifest": lambda it: replace(it, manifest=it.manifest.replace(b"0", b"1", 1)),
    "a manifest that is empty": lambda it: replace(it, manifest=b""),
    "a manifest of another release": lambda it: replace(it, manifest=it.manifest.replace(b"1.0.0", b"1.0.1")),
    "another key": lambda it: signed_as(it, key="mallory"),
    "another key under Acme's name": lambda it: with_hint(signed_as(it, key="mallory"), hint_of(it)),
    "a key of another curve": lambda it: with_hint(signed_as(it, key="large"), hint_of(it)),
    "another subject": lambda it: it.edited(lambda s: s["subject"][0].update(name="acme@pets@dog@1.0.0")),
    "a second subject": lambda it: it.edited(lambda s: s["subject"].append(s["subject"][0])),
    "another kind of statement": lambda it: it.edited(lambda s: s.update(_type="https://in-toto.io/Statement/v0.1")),
    "another predicate": lambda it: it.edited(lambda s: s.update(predicateType="https://slsa.dev/provenance/v1")),
    "another digest": lambda it: it.edited(lambda s: s["predicate"]["resources"][0].update(digest="0" * 64)),
    "another file": lambda it: it.edited(lambda s: s["predicate"]["resources"][0].update(name="README.md")),
    "no file": lambda it: it.edited(lambda s: s["predicate"].update(resources=[])),
    "files left out": lambda it: it.edited(lambda s: s["predicate"]["serialization"].update(ignore_paths=["a"])),
    "another payload type": lambda it: it.enveloped(lambda b: b["dsseEnvelope"].update(payloadType="text/plain")),
    "a bit of the signature": lambda it: it.enveloped(
        lambda b: signatures(b)[0].update(sig=flipped(signatures(b)[0]["sig"]))
    ),
    "a signature that is empty": lambda it: it.enveloped(lambda b: signatures(b)[0].update(sig="")),
    "no signature": lambda it: it.enveloped(lambda b: signatures(b).clear()),
    "half a bundle": lambda it: replace(it, bundle=it.signature[: len(it.signature) // 2]),
    "no bundle": lambda it: replace(it, bundle=""),
    "a pickle": lambda it: replace(it, bundle="\x80\x04K\x01."),
    "brackets": lambda it: replace(it, bundle="[" * 10_000),
}

REFUSED_BY_US: dict[str, Callable[[Scene], Scene]] = {
    "asked for as another package": lambda it: replace(it, package="acme/pets/dog"),
    "asked for as another version": lambda it: replace(it, version="2.0.0"),
    "asked for from another collection": lambda it: replace(it, package="acme/zoo/cat"),
    "another owner's package": lambda it: replace(
        signed_as(it, package="mallory/pets/cat"), package="mallory/pets/cat", folder="mallory@pets@cat@1.0.0"
    ),
    "really signed as another version": lambda it: signed_as(it, version="2.0.0"),
    "no name of a key": lambda it: with_hint(it, ""),
    "a key written twice": lambda it: replace(it, bundle=it.signature.replace('"hint":', '"hint": "x", "hint":', 1)),
    "as long as a book": lambda it: replace(it, bundle=it.signature + " " * SIGNATURE_BYTES),
}
"""Upstream knows no names: it looks at whatever folder it is given, and at no more than it needs of a bundle."""

UNSIGNED_FILES = (".gitignore", ".gitattributes", ".git/config", ".github/workflows/a.yml", "weights.safetensors")


def test_both_accept_what_acme_signed(good: Scene, tmp_path: Path) -> None:
    assert ours(good) is None
    assert theirs(good, tmp_path)
    assert len(REFUSED_BY_BOTH) + len(REFUSED_BY_US) + len(UNSIGNED_FILES) >= 25


@pytest.mark.parametrize("change", REFUSED_BY_BOTH.values(), ids=REFUSED_BY_BOTH)
def test_both_refuse(change: Callable[[Scene], Scene], good: Scene, tmp_path: Path) -> None:
    scene = change(good)
    problem = ours(scene)
    assert problem is not None
    assert problem.isprintable()
    assert not theirs(scene, tmp_path)


@pytest.mark.parametrize("change", REFUSED_BY_US.values(), ids=REFUSED_BY_US)
def test_what_only_we_refuse(change: Callable[[Scene], Scene], good: Scene, tmp_path: Path) -> None:
    scene = change(good)
    assert ours(scene)
    assert theirs(scene, tmp_path), "upstream has learnt to refuse this: tell it in docs/security.md"


@pytest.mark.parametrize("name", UNSIGNED_FILES)
def test_files_that_nobody_signed_are_no_part_of_a_package(name: str, good: Scene, tmp_path: Path) -> None:
    # We sign the manifest alone, and a package is what its manifest names: see test_verify.py. Upstream agrees, but
    # about files of git only where whoever verifies says so.
    scene = replace(good, more={name: b"x"})
    assert not theirs(scene, tmp_path / "told")
    assert theirs(scene, tmp_path / "default", everything=False) == name.startswith(".git")


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows has neither")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/hostname")], ids=["fifo", "symlink"])
def test_a_manifest_that_is_no_file_is_refused_by_upstream_too(
    make: Callable[[Path], None], good: Scene, tmp_path: Path
) -> None:
    assert theirs(good, tmp_path)
    (tmp_path / good.folder / "module.json").unlink()
    make(tmp_path / good.folder / "module.json")
    words = ["verify", "key", "--signature", tmp_path / "bundle", "--public_key", good.public, tmp_path / good.folder]
    assert CliRunner().invoke(upstream, [str(word) for word in words]).exit_code != 0


def test_signatures_of_every_version_are_still_verified() -> None:
    manifest, text = (GOLDEN / "module.json").read_bytes(), (GOLDEN / "cat-1.0.0.json").read_text()
    key = TrustedKey.parse(f"acme={GOLDEN / 'acme.pub'}")
    assert check_signature(text, manifest, package=CAT, version=VERSION, keys=[key]) == key


def test_upstream_verifies_them_in_a_process_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "acme@pets@cat@1.0.0"
    folder.mkdir()
    (folder / "module.json").write_bytes((GOLDEN / "module.json").read_bytes())
    words = ("--signature", GOLDEN / "cat-1.0.0.json", "--public_key", GOLDEN / "acme.pub", folder)
    command = (sys.executable, "-m", "model_signing", "verify", "key", *map(str, words))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
