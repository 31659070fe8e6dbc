"""The owner's side of a signed index: `modhub registry sign-index`; see `modhub.hub.signed_index`.

```
KEYS/root.pem targets.pem snapshot.pem timestamp.pem     private; root.pem is needed for changes of keys only
FOLDER/1.root.json 4.targets.json 4.snapshot.json timestamp.json
```

The metadata is a few files for any folder or web server. It says for how long it holds: whoever runs this has to run it
again before the timestamp expires, every day say, or his users are told that somebody holds news back.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from modhub import fsops
from modhub.errors import MissingExtra, NotFound, UsageError
from modhub.hub.signed_index import METADATA_BYTES, REVISION_KEY, ROOT_BYTES, path_of
from modhub.package.signing import KEY_BYTES, PASSWORD_VARIABLE
from modhub.spec.digests import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root, Signed, Targets

    from modhub.hub.client import Client

ROLES = ("root", "targets", "snapshot", "timestamp")
DAYS = {"root": 365, "targets": 90, "snapshot": 90}
TIMESTAMP_DAYS = 2
RENEW_DAYS = 30
"""Metadata that holds for less is signed anew."""

ENCRYPTED = b"ENCRYPTED PRIVATE KEY"
"""How a key under a password begins, in PEM form."""

LOCK_PATIENCE_S = 30.0
ROOT_FILE = re.compile(r"([0-9]{1,9})\.root\.json")


@dataclass(frozen=True, kw_only=True)
class SignedIndex:
    """What was signed.

    Args:
        collections: how many collections the metadata names.
        version: the number of the timestamp.
        expires: until when it holds.
        root: the newest root file, which users are given.
    """

    collections: int
    version: int
    expires: datetime
    root: Path


def sign_index(
    client: Client,
    *,
    registry: str | None = None,
    keys: Path,
    folder: Path,
    days: int = TIMESTAMP_DAYS,
    rotate: Sequence[str] = (),
    now: datetime | None = None,
) -> SignedIndex:
    """Sign the index of every collection of a registry as it is now, with new keys where there are none.

    Args:
        client: with the registry among its own.
        registry: which one; by default the first.
        keys: folder of private keys. They are made with a password where ``MODHUB_KEY_PASSWORD`` holds one.
        folder: where the metadata lies, or belongs.
        days: for how long nobody has to sign again.
        rotate: roles that get a new key; the one before means nothing any more.
        now: the time to sign at; by default that of the clock.

    Raises:
        UsageError: a key is missing or cannot be used, or a role is unknown.
        IntegrityError: a collection's history is not the one seen before.
        HubError: the registry cannot be read, or the disk refuses.
        MissingExtra: tuf is not installed.
    """
    unknown = [role for role in rotate if role not in ROLES]
    if unknown:
        raise UsageError(
            f"there is no role {unknown[0]!r} whose key could be replaced; the roles are {', '.join(ROLES)}"
        )
    _check_installed()
    fsops.make_folder(keys)
    fsops.make_folder(folder)
    with fsops.locked(keys / "lock", patience_s=LOCK_PATIENCE_S):
        signer = _Signer(keys, folder, now=now or datetime.now(UTC))
        root = signer.update_root(rotate)
        targets, listed = signer.update_targets(_indexes(client, registry))
        version, expires = signer.update_timestamp(signer.update_snapshot(targets), days=days)
    return SignedIndex(collections=listed, version=version, expires=expires, root=root)


def _indexes(client: Client, registry: str | None) -> dict[str, Any]:
    """Return what the metadata says of the index of each collection."""
    from tuf.api.metadata import TargetFile

    found = {}
    for collection in client.collections(registry=registry):
        now = client.snapshot(collection, registry=registry)
        size = len(now.index.to_json())
        custom = {"custom": {REVISION_KEY: now.revision}}
        found[path_of(collection)] = TargetFile(size, {"sha256": now.digest}, path_of(collection), custom)
    return found


class _Signer:
    """The metadata of one folder, at one time."""

    def __init__(self, keys: Path, folder: Path, *, now: datetime) -> None:
        self._keys, self._folder, self._now = keys, folder, now.replace(microsecond=0)
        self._root: Metadata[Root] | None = self._newest_root()

    def update_root(self, rotate: Iterable[str]) -> Path:
        """Make the first root, or the next one where keys are replaced or it expires soon; return the newest file."""
        from tuf.api.metadata import Metadata, Root

        if self._root is None:
            made = {role: _new_key() for role in ROLES}
            root = Metadata(Root(expires=self._after(DAYS["root"]), consistent_snapshot=True))
            for role, key in made.items():
                root.signed.add_key(key.public_key, role)
            return self._write_root(root, made, signers=[made["root"]])
        root, rotate = self._root, tuple(rotate)
        path = self._folder / f"{root.signed.version}.root.json"
        if not rotate and not (self._expires_soon(root.signed) and (self._keys / "root.pem").exists()):
            return path
        before = self._key("root")
        made = {role: _new_key() for role in rotate}
        for role, key in made.items():
            for old in tuple(root.signed.roles[role].keyids):
                root.signed.revoke_key(old, role)
            root.signed.add_key(key.public_key, role)
        root.signed.version += 1
        root.signed.expires = self._after(DAYS["root"])
        return self._write_root(root, made, signers=[before, *([made["root"]] if "root" in made else [])])

    def update_targets(self, indexes: dict[str, Any]) -> tuple[Metadata[Targets], int]:
        """Return the metadata that names the indexes, new where they or the key have changed."""
        from tuf.api.metadata import Metadata, Targets

        old = self._current("targets")
        if old is not None and old.signed.targets == indexes and self._still_holds(old):
            return old, len(indexes)
        version = 1 if old is None else old.signed.version + 1
        targets = Metadata(Targets(version=version, expires=self._after(DAYS["targets"]), targets=indexes))
        self._write(targets, "targets", f"{version}.targets.json")
        return targets, len(indexes)

    def update_snapshot(self, targets: Metadata[Targets]) -> Metadata[Any]:
        """Return the metadata that names those targets."""
        from tuf.api.metadata import Metadata, MetaFile, Snapshot

        old = self._current("snapshot")
        meta = {"targets.json": MetaFile(targets.signed.version)}
        if old is not None and old.signed.meta == meta and self._still_holds(old):
            return old
        version = 1 if old is None else old.signed.version + 1
        snapshot = Metadata(Snapshot(version=version, expires=self._after(DAYS["snapshot"]), meta=meta))
        self._write(snapshot, "snapshot", f"{version}.snapshot.json")
        return snapshot

    def update_timestamp(self, snapshot: Metadata[Any], *, days: int) -> tuple[int, datetime]:
        """Write the metadata that names that snapshot, last of all; return its number and until when it holds."""
        from tuf.api.metadata import Metadata, MetaFile, Timestamp

        data = self._read(f"{snapshot.signed.version}.snapshot.json")
        meta = MetaFile(snapshot.signed.version, len(data), {"sha256": sha256(data)})
        old = self._current("timestamp")
        version = 1 if old is None else old.signed.version + 1
        timestamp = Metadata(Timestamp(version=version, expires=self._after(days), snapshot_meta=meta))
        self._write(timestamp, "timestamp", "timestamp.json")
        return version, timestamp.signed.expires

    def _write_root(
        self, root: Metadata[Root], made: dict[str, CryptoSigner], *, signers: Sequence[CryptoSigner]
    ) -> Path:
        """Write a root, and the keys that it is the first to name before it and beside the old ones."""
        for role, key in made.items():
            fsops.replace_file(self._keys / f"{role}.next.pem", _pem(key), private=True)
        root.signatures.clear()
        for signer in signers:
            root.sign(signer, append=True)
        path = self._folder / f"{root.signed.version}.root.json"
        fsops.replace_file(path, root.to_bytes())
        self._root = root
        for role in made:
            fsops.replace_by(self._keys / f"{role}.pem", self._keys / f"{role}.next.pem")
        return path

    def _write(self, metadata: Metadata[Any], role: str, name: str) -> None:
        metadata.sign(self._key(role))
        fsops.replace_file(self._folder / name, metadata.to_bytes())

    def _key(self, role: str) -> CryptoSigner:
        """Return the key of a role that the root names; a killed change of keys may have left two.

        Raises:
            UsageError: there is none.
        """
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner

        password = os.environ.get(PASSWORD_VARIABLE)
        for path in (self._keys / f"{role}.pem", self._keys / f"{role}.next.pem"):
            try:
                data = fsops.read_file(path, limit=KEY_BYTES)
                key: Any = load_pem_private_key(data, password.encode() if password and ENCRYPTED in data else None)
                signer = CryptoSigner(key)
            except NotFound:
                continue
            except (ValueError, TypeError) as error:
                raise UsageError(f"the key {path} cannot be used: {error}") from error
            if self._root is not None and signer.public_key.keyid in self._root.signed.roles[role].keyids:
                return signer
        raise UsageError(f"{self._keys} holds no {role}.pem, or another one than the root file names")

    def _newest_root(self) -> Metadata[Root] | None:
        from tuf.api.metadata import Metadata, Root

        numbers = [int(match[1]) for name in fsops.list_folder(self._folder) if (match := ROOT_FILE.fullmatch(name))]
        if not numbers:
            return None
        data = fsops.read_file(self._folder / f"{max(numbers)}.root.json", limit=ROOT_BYTES)
        return Metadata[Root].from_bytes(data)

    def _current(self, role: str) -> Metadata[Any] | None:
        """Return the newest metadata of a role, or None."""
        from tuf.api.metadata import Metadata

        pattern = re.compile(rf"(?:([0-9]{{1,9}})\.)?{role}\.json")
        found = [
            (int(match[1] or 0), name) for name in fsops.list_folder(self._folder) if (match := pattern.fullmatch(name))
        ]
        return Metadata.from_bytes(self._read(max(found)[1])) if found else None

    def _still_holds(self, metadata: Metadata[Any]) -> bool:
        """Tell whether metadata is signed by today's key and holds for long enough."""
        from tuf.api.exceptions import UnsignedMetadataError

        if self._root is None or self._expires_soon(metadata.signed):
            return False
        try:
            self._root.signed.verify_delegate(metadata.signed.type, metadata.signed_bytes, metadata.signatures)
        except UnsignedMetadataError:
            return False
        return True

    def _expires_soon(self, signed: Signed) -> bool:
        return signed.expires < self._after(RENEW_DAYS)

    def _after(self, days: int) -> datetime:
        return self._now + timedelta(days=days)

    def _read(self, name: str) -> bytes:
        return fsops.read_file(self._folder / name, limit=METADATA_BYTES)


def _new_key() -> CryptoSigner:
    from securesystemslib.signer import CryptoSigner

    return CryptoSigner.generate_ed25519()


def _pem(signer: CryptoSigner) -> bytes:
    """Return a private key as it is kept, under the password where there is one."""
    from cryptography.hazmat.primitives import serialization

    password = os.environ.get(PASSWORD_VARIABLE)
    if not password:
        return signer.private_bytes
    key: Any = serialization.load_pem_private_key(signer.private_bytes, None)
    lock = serialization.BestAvailableEncryption(password.encode())
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    return pem


def _check_installed() -> None:
    try:
        import tuf.api.metadata  # noqa: F401
    except ImportError as error:
        raise MissingExtra("tuf", extra="sign", purpose="signing an index") from error
