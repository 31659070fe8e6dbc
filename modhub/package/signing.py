"""Signatures of packages, by OpenSSF model-signing with keys of one's own; nothing is asked over a network.

    text = sign(manifest, package="acme/pets/cat", version="1.0.0", key=Path("acme.pem"))
    check_signature(text, manifest, package="acme/pets/cat", version="1.0.0", keys=[TrustedKey.parse("acme=acme.pub")])

`module.json` alone is signed: it holds the digest of every other file. The signature is a Sigstore bundle; the subject
of its statement is the full name and the version, so that it says nothing about any other package. It travels in the
collection's index, as the key `signature` of the release, and so through every mirror, bundle and cache.

Keys are of the elliptic curves P-256, P-384 and P-521. Certificates are not taken: model-signing looks neither at their
dates nor at whom they name.
"""

from __future__ import annotations

import base64
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub import fsops
from modhub.errors import FormatError, IntegrityError, MissingExtra, UsageError
from modhub.package.package import MANIFEST_FILE
from modhub.spec.digests import sha256
from modhub.spec.document import parse_json, shown
from modhub.spec.names import PackageId

if TYPE_CHECKING:
    from collections.abc import Iterable

SIGNATURE_KEY = "signature"
SIGNATURE_BYTES = 16 << 10
"""A bundle. Those over one file take about 2 KiB."""

KEY_BYTES = 16 << 10
"""A file with a key. Those of the largest curve take 400 bytes."""

PASSWORD_VARIABLE = "MODHUB_KEY_PASSWORD"  # noqa: S105  It is the name of one.
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"


@dataclass(frozen=True)
class TrustedKey:
    """A public key, and whose packages it may sign.

    Args:
        path: the file in PEM form.
        owner: the one owner whose collections it signs; None for all.
        id: the digest of the key, by which signatures name it.
    """

    path: Path
    owner: str | None
    id: str

    @classmethod
    def parse(cls, text: str) -> TrustedKey:
        """Return the key that ``OWNER=FILE`` or ``FILE`` names.

        Raises:
            NotFound: there is no such file.
            UsageError: it holds no public key of an elliptic curve.
            MissingExtra: signing is not installed.
        """
        _library("signing")
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

        owner, _, file = text.rpartition("=")
        path = Path(file).expanduser()
        try:
            key = serialization.load_pem_public_key(fsops.read_file(path, limit=KEY_BYTES))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path} holds no public key in PEM form: {error}") from error
        if not isinstance(key, EllipticCurvePublicKey):
            raise UsageError(f"{path} holds a key of another kind than an elliptic curve's")
        plain = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return cls(path=path, owner=owner or None, id=sha256(plain))


def sign(manifest: bytes, *, package: str, version: str, key: Path) -> str:
    """Return the signature of a package.

    Args:
        manifest: the bytes of its `module.json`.
        package: its full name, ``owner/collection/name``.
        version: its version.
        key: file with a private key in PEM form; its password, if it has one, is in ``MODHUB_KEY_PASSWORD``.

    Raises:
        InvalidName: the name is no full one.
        UsageError: the key cannot be used.
        MissingExtra: signing is not installed.
    """
    library = _library("signing")
    password = os.environ.get(PASSWORD_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="modhub-") as place:
        folder, bundle = _folder(Path(place), manifest, package=package, version=version), Path(place) / "bundle"
        try:
            # The library says that passwords are text and takes bytes only.
            known: Any = password.encode() if password else None
            config = library.signing.Config().use_elliptic_key_signer(private_key=key, password=known)
            config.set_hashing_config(_everything(library)).sign(folder, bundle)
        except (ValueError, TypeError, OSError) as error:
            raise UsageError(f"cannot sign with the key {key}: {str(error) or type(error).__name__}") from error
        return fsops.read_file(bundle, limit=SIGNATURE_BYTES).decode()


def check_signature(
    signature: str, manifest: bytes, *, package: str, version: str, keys: Iterable[TrustedKey]
) -> TrustedKey:
    """Check that a package is signed, and return the key that did it.

    Args:
        signature: from `sign`, by way of an index.
        manifest: the bytes of the package's `module.json`.
        package: the full name that was asked for.
        version: the version that was asked for.
        keys: whom to believe.

    Raises:
        IntegrityError: the signature is not one of this package by one of these keys.
        MissingExtra: signing is not installed.
    """
    what, owner = f"{package} {version}", PackageId.parse(package).collection.owner
    try:
        document: Any = parse_json(signature.encode(), limit=SIGNATURE_BYTES)
        hint = document["verificationMaterial"]["publicKey"]["hint"]
        (envelope_signature,) = document["dsseEnvelope"]["signatures"]
        statement: Any = parse_json(base64.b64decode(document["dsseEnvelope"]["payload"]), limit=SIGNATURE_BYTES)
        said = (statement["_type"], statement["predicateType"], [each["name"] for each in statement["subject"]])
        resources = statement["predicate"]["resources"]
    except (FormatError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"the signature of {what} cannot be read: {shown(str(error))}") from error
    key = next((key for key in keys if key.id == hint and key.owner in (None, owner)), None)
    if key is None or not envelope_signature:
        raise IntegrityError(f"{what} is signed with the key {shown(str(hint))}, which is not trusted for {owner}")
    _check_bundle(signature, manifest, key=key, package=package, version=version)
    subject = _subject(package, version)
    if said != (STATEMENT, PREDICATE, [subject]):
        raise IntegrityError(f"the signature of {what} is one of {shown(str(said[2]))}, expected {subject!r}")
    if resources != [{"name": MANIFEST_FILE, "algorithm": "sha256", "digest": sha256(manifest)}]:
        raise IntegrityError(f"the signature of {what} is not one of its {MANIFEST_FILE} alone")
    return key


def _check_bundle(signature: str, manifest: bytes, *, key: TrustedKey, package: str, version: str) -> None:
    """Let the library check the signature, over a folder that holds the manifest and nothing else."""
    library = _library("verifying")
    with tempfile.TemporaryDirectory(prefix="modhub-") as place:
        folder, bundle = _folder(Path(place), manifest, package=package, version=version), Path(place) / "bundle"
        fsops.write_new(bundle, signature.encode())
        try:
            config = library.verifying.Config().use_elliptic_key_verifier(public_key=key.path)
            config.set_hashing_config(_everything(library)).verify(folder, bundle)
        except Exception as error:  # Its errors, and those of the libraries below it, have no common base class.
            problem = shown(str(error)) if str(error) else type(error).__name__
            raise IntegrityError(f"the signature of {package} {version} is not valid: {problem}") from error


def _everything(library: Any) -> Any:
    """Return how files are hashed: all of them. By default the library leaves those of git unsigned."""
    return library.hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)


def _folder(place: Path, manifest: bytes, *, package: str, version: str) -> Path:
    """Write the manifest into a folder of its own: the library signs folders, by their names."""
    folder = place / _subject(package, version)
    fsops.write_folder(folder, {MANIFEST_FILE: manifest})
    return folder


def _subject(package: str, version: str) -> str:
    """Return what a signature calls a package; no name holds an ``@``."""
    return "@".join((*str(PackageId.parse(package)).split("/"), version))


def _library(purpose: str) -> Any:
    try:
        import model_signing
        import model_signing.hashing
        import model_signing.signing
        import model_signing.verifying
    except ImportError as error:
        raise MissingExtra("model-signing", extra="sign", purpose=purpose) from error
    return model_signing
