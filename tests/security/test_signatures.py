"""Signatures with real keys: what is tampered with, replayed, signed by others or not at all is refused."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from modhub import flow
from modhub.cli.main import run
from modhub.errors import IntegrityError, UsageError
from modhub.package.signing import PASSWORD_VARIABLE, TrustedKey, check_signature, sign
from modhub.spec.index import Index
from modhub.workspace import Workspace
from modhub.workspace.signatures import Signatures, sign_packages
from tests.support.pets import pets_packages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CAT = "acme/pets/cat"


def write_key(folder: Path, name: str, *, curve: ec.EllipticCurve | None = None, password: bytes | None = None) -> Path:
    """Write a new pair of keys, and return the private one's file; the public one's ends in `.pub`."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path = folder / f"{name}.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    public = key.public_key()
    path.with_suffix(".pub").write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return path


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Acme's private key."""
    return write_key(tmp_path_factory.mktemp("keys"), "acme")


@pytest.fixture(scope="module")
def trusted(key: Path) -> TrustedKey:
    """Acme's public key, trusted for Acme's packages."""
    return TrustedKey.parse(f"acme={key.with_suffix('.pub')}")


@pytest.fixture(scope="module")
def manifest() -> bytes:
    """The `module.json` of a cat."""
    return pets_packages()[1].read("module.json")


@pytest.fixture(scope="module")
def signature(key: Path, manifest: bytes) -> str:
    """What Acme signed."""
    return sign(manifest, package=CAT, version="1.0.0", key=key)


def refusal(signature: str, manifest: bytes, trusted: TrustedKey, *, package: str = CAT, version: str = "1.0.0") -> str:
    """Return why a signature is refused."""
    with pytest.raises(IntegrityError) as caught:
        check_signature(signature, manifest, package=package, version=version, keys=[trusted])
    assert str(caught.value).isprintable()
    return str(caught.value)


def edited(signature: str, change: Callable[[dict[str, Any]], None]) -> str:
    """Return a bundle whose statement was changed after it was signed."""
    bundle = json.loads(signature)
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(bundle)


def test_what_acme_signed_is_known_as_acmes(signature: str, manifest: bytes, trusted: TrustedKey) -> None:
    found = check_signature(signature, manifest, package=CAT, version="1.0.0", keys=[trusted])
    assert found == trusted
    assert len(signature) < 4000


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_larger_curves_and_passwords_work(
    curve: ec.EllipticCurve, manifest: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = write_key(tmp_path, "locked", curve=curve, password=b"open sesame")
    with pytest.raises(UsageError, match="cannot sign with the key"):
        sign(manifest, package=CAT, version="1.0.0", key=key)
    monkeypatch.setenv(PASSWORD_VARIABLE, "open sesame")
    signature = sign(manifest, package=CAT, version="1.0.0", key=key)
    anybody = TrustedKey.parse(str(key.with_suffix(".pub")))
    assert check_signature(signature, manifest, package=CAT, version="1.0.0", keys=[anybody]) == anybody


def test_a_changed_manifest_is_refused(signature: str, manifest: bytes, trusted: TrustedKey) -> None:
    assert "is not valid" in refusal(signature, manifest.replace(b"0", b"1", 1), trusted)


@pytest.mark.parametrize(
    ("package", "version"),
    [("acme/pets/dog", "1.0.0"), (CAT, "2.0.0"), ("acme/zoo/cat", "1.0.0")],
    ids=["another name", "another version", "another collection"],
)
def test_a_replayed_signature_is_refused(
    package: str, version: str, signature: str, manifest: bytes, trusted: TrustedKey
) -> None:
    assert "'acme@pets@cat@1.0.0'" in refusal(signature, manifest, trusted, package=package, version=version)


def test_a_key_signs_for_its_owner_alone(manifest: bytes, key: Path, trusted: TrustedKey) -> None:
    signature = sign(manifest, package="mallory/pets/cat", version="1.0.0", key=key)
    assert "not trusted for mallory" in refusal(signature, manifest, trusted, package="mallory/pets/cat")


def test_an_unknown_key_is_refused(manifest: bytes, trusted: TrustedKey, tmp_path: Path) -> None:
    signature = sign(manifest, package=CAT, version="1.0.0", key=write_key(tmp_path, "mallory"))
    assert "is not trusted for acme" in refusal(signature, manifest, trusted)
    bundle = json.loads(signature)
    bundle["verificationMaterial"]["publicKey"]["hint"] = trusted.id
    assert "is not valid" in refusal(json.dumps(bundle), manifest, trusted)
    bundle["verificationMaterial"]["publicKey"]["hint"] = ""
    assert "is not trusted for acme" in refusal(json.dumps(bundle), manifest, trusted)


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "another subject": lambda it: it["subject"][0].update(name="acme@pets@dog@1.0.0"),
    "a second subject": lambda it: it["subject"].append(it["subject"][0]),
    "another kind of statement": lambda it: it.update(predicateType="https://model_signing/Digests/v0.1"),
    "another file": lambda it: it["predicate"]["resources"][0].update(name="README.md"),
    "files that are left out": lambda it: it["predicate"]["serialization"].update(ignore_paths=["module.json"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_statement_that_was_changed_is_refused(
    change: Callable[[dict[str, Any]], None], signature: str, manifest: bytes, trusted: TrustedKey
) -> None:
    assert "is not valid" in refusal(edited(signature, change), manifest, trusted)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"a": 1, "a": 2}', '{"verificationMaterial": 7}', "\x1b[2J", "[" * 5000]
)
def test_what_is_no_signature_is_refused(text: str, manifest: bytes, trusted: TrustedKey) -> None:
    assert "cannot be read" in refusal(text, manifest, trusted)


def test_only_keys_of_elliptic_curves_are_taken(tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    (tmp_path / "ed.pub").write_bytes(
        other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "text.pub").write_text("no key")
    for name in ("ed.pub", "text.pub"):
        with pytest.raises(UsageError, match="holds"):
            TrustedKey.parse(str(tmp_path / name))
    with pytest.raises(UsageError, match="no key is trusted"):
        Signatures(required=True)


def registry_of(folder: Path, key: Path | None) -> Path:
    """Publish the pets, signed with a key or not at all."""
    packages = pets_packages()
    signatures = sign_packages(packages, collection="acme/pets", key=key) if key else {}
    flow.publish(packages, to=str(folder), collection="acme/pets", store=folder.parent / "s", signatures=signatures)
    return folder


def test_installing_asks_for_signatures_where_it_was_told_to(tmp_path: Path, key: Path, trusted: TrustedKey) -> None:
    wanted, asked = ["acme/pets/cat"], Signatures(keys=(trusted,), required=True)
    signed = Workspace.open([str(registry_of(tmp_path / "signed", key))], store=tmp_path / "store")
    assert flow.install(flow.resolve(wanted, workspace=signed), workspace=signed, signatures=asked)
    bare = Workspace.open([str(registry_of(tmp_path / "bare", None))], store=tmp_path / "store")
    lock = flow.resolve(wanted, workspace=bare)
    with pytest.raises(IntegrityError, match="is not signed"):
        flow.install(lock, workspace=bare, signatures=asked)
    assert flow.install(lock, workspace=bare, signatures=Signatures(keys=(trusted,)))
    mallory = write_key(tmp_path, "mallory")
    forged = Workspace.open([str(registry_of(tmp_path / "forged", mallory))], store=tmp_path / "store")
    with pytest.raises(IntegrityError, match="not trusted for acme"):
        flow.install(flow.resolve(wanted, workspace=forged), workspace=forged, signatures=Signatures(keys=(trusted,)))


def test_signing_publishing_installing_and_verifying_by_commands(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flow.write_collection(pets_packages(), tmp_path / "pets")
    public = f"acme={key.with_suffix('.pub')}"
    name = ["--name", "acme/pets"]
    assert run(["verify", "pets", "--trust", public, *name]) == 4
    assert run(["sign", "pets", "--key", str(key), *name]) == 0
    assert run(["verify", "pets", "--trust", public, *name]) == 0
    assert run(["verify", "pets", "--trust", public, "--name", "acme/zoo"]) == 4
    assert run(["publish", "pets", "--to", "./registry", "--store", "store", *name]) == 0
    assert run(["sign", "registry/acme/pets", "--key", str(key), *name]) == 2
    install = ["install", "-r", "./registry", "--store", "store", "--require-signature", "acme/pets/cat"]
    assert run([*install, "--trust", public]) == 0
    assert run(install) == 2
    capsys.readouterr()
    other = write_key(tmp_path, "other").with_suffix(".pub")
    assert run([*install, "--trust", str(other)]) == 4
    assert "is not trusted for acme" in capsys.readouterr().err
    index = Index.from_json((tmp_path / "registry" / "acme" / "pets" / "modhub.json").read_bytes())
    assert all("signature" in release.extra for release in index.releases)


def test_publishing_signs_on_the_way(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flow.write_collection(pets_packages(), tmp_path / "pets")
    publish = ["publish", "pets", "--to", "./registry", "--store", "store", "--name", "acme/pets"]
    assert run([*publish, "--sign", str(key)]) == 0
    assert run(["verify", "registry/acme/pets", "--trust", str(key.with_suffix(".pub")), "--name", "acme/pets"]) == 0
    assert run(publish) == 0
