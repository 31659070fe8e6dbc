"""Attacks on a signed index, by a server that lies: each is refused by its name, and owners recover from theft."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tuf.api.metadata import Metadata

from modhub import flow
from modhub.cli.main import run
from modhub.errors import HubError, IntegrityError, NotFound, UsageError
from modhub.hub.index_signer import sign_index
from modhub.hub.signed_index import Trust, read_signed
from modhub.package.signing import PASSWORD_VARIABLE
from modhub.spec.names import CollectionId
from modhub.workspace import Workspace
from tests.support.pets import pets_packages, publish_pets

if TYPE_CHECKING:
    from collections.abc import Callable

PETS = CollectionId("acme", "pets")
NOW = datetime.now(UTC)


class Owner:
    """The owner of a registry: his keys, his metadata, and the root file that he has given to users."""

    def __init__(self, place: Path, registry: Path) -> None:
        self.place, self.registry = place, registry
        self.keys, self.metadata, self.root = place / "keys", place / "metadata", place / "root.json"
        self.sign()
        shutil.copy(self.metadata / "1.root.json", self.root)

    @property
    def trust(self) -> Trust:
        return Trust(root=self.root, location=str(self.metadata))

    def sign(self, *rotate: str, now: datetime | None = None, days: int = 2) -> None:
        client = Workspace.open([str(self.registry)], store=self.place / "owner").client
        sign_index(client, keys=self.keys, folder=self.metadata, rotate=rotate, now=now, days=days)

    def publish(self, version: str) -> None:
        packages = pets_packages(version)
        flow.publish(packages, to=str(self.registry), collection="acme/pets", store=self.place / "owner")

    def seen(self) -> dict[CollectionId, Any]:
        """Return what a user sees who remembers what he saw before."""
        return dict(read_signed(self.trust, self.place / "user", registry="work"))

    def refusal(self) -> str:
        """Return why a user is shown nothing."""
        with pytest.raises(IntegrityError) as caught:
            self.seen()
        assert str(caught.value).isprintable()
        return str(caught.value)

    def kept(self, name: str) -> Callable[[], object]:
        """Return what puts a file back as it is now."""
        data = (self.metadata / name).read_bytes()
        return lambda: (self.metadata / name).write_bytes(data)

    def forge(self, name: str, **changes: object) -> None:
        """Change a file of metadata, and sign it with the key of its role: the keys were stolen."""
        data = json.loads((self.metadata / name).read_text())
        data["signed"].update(changes)
        metadata: Metadata[Any] = Metadata.from_dict(data)
        metadata.sign(self.key(metadata.signed.type))
        (self.metadata / name).write_bytes(metadata.to_bytes())

    def key(self, role: str) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner

        key: Any = load_pem_private_key((self.keys / f"{role}.pem").read_bytes(), None)
        return CryptoSigner(key)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with one collection, to copy."""
    return publish_pets(tmp_path_factory.mktemp("published") / "registry", "1.0.0")


@pytest.fixture
def owner(published: Path, tmp_path: Path) -> Owner:
    """An owner who has signed once."""
    return Owner(tmp_path, Path(shutil.copytree(published, tmp_path / "registry")))


def test_what_was_signed_is_seen(owner: Owner) -> None:
    assert set(owner.seen()) == {PETS}
    assert owner.seen() == owner.seen()
    assert (owner.keys / "root.pem").stat().st_mode & 0o077 == 0


def test_signing_the_same_again_renews_the_timestamp_alone(owner: Owner) -> None:
    owner.sign()
    names = {path.name for path in owner.metadata.iterdir()}
    assert names == {"1.root.json", "1.targets.json", "1.snapshot.json", "timestamp.json"}
    owner.publish("1.1.0")
    owner.sign()
    assert {path.name for path in owner.metadata.iterdir()} == names | {"2.targets.json", "2.snapshot.json"}


def test_an_older_timestamp_is_a_rollback(owner: Owner) -> None:
    back = owner.kept("timestamp.json")
    owner.sign()
    owner.seen()
    back()
    assert "is older than the one seen before" in owner.refusal()


def test_without_the_timestamp_last_seen_the_snapshot_still_shows_a_rollback(owner: Owner) -> None:
    back = owner.kept("timestamp.json")
    owner.publish("1.1.0")
    owner.sign()
    owner.seen()
    for path in (owner.place / "user").rglob("timestamp.json"):
        path.unlink()
    back()
    assert "is older than the one seen before" in owner.refusal()


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
def test_what_has_expired_is_a_freeze_and_the_message_names_the_clock(owner: Owner, name: str) -> None:
    shutil.rmtree(owner.metadata)
    shutil.rmtree(owner.keys)
    old = {"timestamp.json": NOW - timedelta(days=3)}.get(name, NOW - timedelta(days=91))
    owner.sign(now=old, days=2)
    shutil.copy(owner.metadata / "1.root.json", owner.root)
    if name != "timestamp.json":
        renewed = (NOW + timedelta(days=2)).isoformat(timespec="seconds").replace("+00:00", "Z")
        owner.forge("timestamp.json", expires=renewed)
    assert "has expired" in (problem := owner.refusal())
    assert "or the clock here is wrong" in problem


def test_a_root_that_has_expired_is_refused(owner: Owner) -> None:
    shutil.rmtree(owner.metadata)
    shutil.rmtree(owner.keys)
    owner.sign(now=NOW - timedelta(days=400))
    shutil.copy(owner.metadata / "1.root.json", owner.root)
    assert "has expired" in owner.refusal()
    owner.sign()
    assert set(owner.seen()) == {PETS}, "the owner's next root, signed by the old one, heals it"


def test_a_snapshot_of_another_time_is_mix_and_match(owner: Owner) -> None:
    old = (owner.metadata / "1.snapshot.json").read_bytes()
    owner.publish("1.1.0")
    owner.sign()
    (owner.metadata / "2.snapshot.json").write_bytes(old)
    assert "do not belong together" in owner.refusal()


def test_targets_of_another_time_are_mix_and_match(owner: Owner) -> None:
    old = (owner.metadata / "1.targets.json").read_bytes()
    owner.publish("1.1.0")
    owner.sign()
    (owner.metadata / "2.targets.json").write_bytes(old)
    assert "is older than the one seen before" in owner.refusal()


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
def test_a_byte_that_was_changed_is_noticed(owner: Owner, name: str) -> None:
    data = (owner.metadata / name).read_text()
    changed = data.replace('"version": 1', '"version": 2').replace('"version":1', '"version":2')
    assert changed != data
    (owner.metadata / name).write_text(changed)
    assert "do not belong together" in (problem := owner.refusal()) or "is not signed" in problem


def test_another_owners_metadata_is_refused(owner: Owner, tmp_path: Path) -> None:
    (tmp_path / "mallory").mkdir()
    mallory = Owner(tmp_path / "mallory", owner.registry)
    shutil.rmtree(owner.metadata)
    shutil.copytree(mallory.metadata, owner.metadata)
    assert "is not signed with the keys" in owner.refusal()
    mallory.sign("root")
    shutil.copy(mallory.metadata / "2.root.json", owner.metadata / "2.root.json")
    assert "is not signed with the keys" in owner.refusal(), "a next root is one that the root before has signed"


def test_one_signature_is_not_two(owner: Owner) -> None:
    root = Metadata[Any].from_file(str(owner.root))
    root.signed.roles["timestamp"].threshold = 2
    root.sign(owner.key("root"))
    root.to_file(str(owner.root))
    assert "is not signed with the keys" in owner.refusal()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_a_new_key_is_followed_and_the_old_one_means_nothing(owner: Owner, role: str) -> None:
    owner.seen()
    stolen = owner.key(role)
    owner.sign(role)
    assert set(owner.seen()) == {PETS}
    name = {"timestamp": "timestamp.json", "root": "3.root.json"}.get(role, f"2.{role}.json")
    source = "2.root.json" if role == "root" else name
    forged = Metadata[Any].from_file(str(owner.metadata / source))
    forged.signed.version += 1
    forged.sign(stolen)
    forged.to_file(str(owner.metadata / name))
    shutil.rmtree(owner.place / "user")
    assert "is not signed with the keys" in (problem := owner.refusal()) or "do not belong together" in problem


@pytest.mark.parametrize(("name", "roles"), [("timestamp.json", ["timestamp"]), ("both", ["timestamp", "snapshot"])])
def test_an_owner_recovers_from_a_thief_who_made_users_expect_high_numbers(
    owner: Owner, name: str, roles: list[str]
) -> None:
    honest = [owner.kept(path.name) for path in owner.metadata.iterdir()]
    if name == "both":
        forged = json.loads((owner.metadata / "timestamp.json").read_text())["signed"]["meta"]
        shutil.copy(owner.metadata / "1.snapshot.json", owner.metadata / "9999.snapshot.json")
        owner.forge("9999.snapshot.json", version=9999)
        owner.forge("timestamp.json", version=9999, meta={"snapshot.json": {"version": 9999}})
        assert forged["snapshot.json"]["version"] == 1
    else:
        owner.forge("timestamp.json", version=9999)
    owner.seen()
    for restore in honest:
        restore()
    (owner.metadata / "9999.snapshot.json").unlink(missing_ok=True)
    owner.sign()
    assert "is older than the one seen before" in owner.refusal()
    owner.sign(*roles)
    assert set(owner.seen()) == {PETS}


def test_answers_without_end_are_cut_off(owner: Owner) -> None:
    with (owner.metadata / "timestamp.json").open("wb") as file:
        file.truncate(1 << 40)
    assert "is not valid" in owner.refusal()
    (owner.metadata / "timestamp.json").write_bytes(b" " * (1 << 20))
    assert "is larger than it may be" in owner.refusal()


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"\x80\x04K\x01.", b"[" * 16_000, b'{"signed": ' * 1_400, b'{"signatures": [], "signed": {}}'],
    ids=["nothing", "empty", "list", "pickle", "deep", "deep objects", "hollow"],
)
def test_what_is_no_metadata_is_refused(owner: Owner, data: bytes) -> None:
    (owner.metadata / "timestamp.json").write_bytes(data)
    assert "is not valid" in owner.refusal()


def test_files_that_a_crash_left_empty_heal(owner: Owner) -> None:
    owner.seen()
    for name in ("timestamp.json", "snapshot.json", "targets.json"):
        for path in (owner.place / "user").rglob(name):
            path.write_bytes(b"")
    assert set(owner.seen()) == {PETS}


def test_metadata_that_is_not_there_is_no_fault_of_integrity(owner: Owner) -> None:
    (owner.metadata / "timestamp.json").unlink()
    with pytest.raises(HubError, match="cannot be read"):
        owner.seen()
    owner.root.unlink()
    with pytest.raises(NotFound):
        owner.seen()


def test_keys_under_a_password_and_keys_that_are_gone(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "open sesame")
    owner.sign("timestamp")
    assert b"ENCRYPTED" in (owner.keys / "timestamp.pem").read_bytes()
    owner.sign()
    monkeypatch.delenv(PASSWORD_VARIABLE)
    with pytest.raises(UsageError, match="cannot be used"):
        owner.sign()
    (owner.keys / "root.pem").unlink()
    with pytest.raises(UsageError, match=r"holds no root\.pem"):
        owner.sign("timestamp")


def test_a_change_of_keys_that_was_killed_goes_on(owner: Owner) -> None:
    owner.sign("snapshot")
    (owner.keys / "snapshot.pem").rename(owner.keys / "snapshot.next.pem")
    owner.publish("1.1.0")
    owner.sign()
    assert set(owner.seen()) == {PETS}


@pytest.fixture
def user(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A user with settings that ask for the owner's signature."""
    monkeypatch.chdir(owner.place)
    (owner.place / "config.toml").write_text(
        f"registry = 'work'\nstore = 'store'\n[registries]\nwork = {str(owner.registry)!r}\n"
        f"[signed.work]\nroot = {str(owner.root)!r}\nindex = {str(owner.metadata)!r}\n"
    )
    monkeypatch.setenv("MODHUB_CONFIG", str(owner.place / "config.toml"))
    return lambda *words: run(list(words))


def test_users_see_what_was_signed_and_nothing_else(
    owner: Owner, user: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert user("install", "acme/pets/cat") == 0
    owner.publish("1.1.0")
    assert user("resolve", "acme/pets/cat==1.1.0") == 1
    publish_pets(owner.registry, "1.0.0", collection="mallory/pets")
    assert user("info", "mallory/pets") == 3
    owner.sign()
    capsys.readouterr()
    assert user("resolve", "acme/pets/cat==1.1.0") == 0
    assert user("info", "mallory/pets") == 0


def test_an_index_that_nobody_signed_is_refused_with_exit_code_4(
    owner: Owner, user: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = owner.registry / "acme" / "pets"
    (newest,) = (folder / ".modhub" / "index").glob("*.json")
    text = newest.read_text().replace("MIT", "GPL-3.0-only")
    for path in (newest, folder / "modhub.json"):
        path.write_text(text)
    assert user("resolve", "acme/pets/cat") == 4
    assert "is not the one that was signed" in capsys.readouterr().err
    assert user("info", "acme/pets") == 4
    shutil.rmtree(folder)
    assert user("info", "acme/pets") == 4
    assert "which its signed index lists" in capsys.readouterr().err


def test_the_command_signs_and_says_until_when(
    owner: Owner, user: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert user("registry", "sign-index", "work", "--keys", "keys", "-o", "metadata", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["collections"] == 1
    assert said["version"] == 2
    assert datetime.fromisoformat(said["expires"]) > NOW + timedelta(days=1)
    assert user("registry", "sign-index", "work", "--keys", "keys", "-o", "metadata", "--rotate", "snapshot") == 0
    assert "2.root.json" in capsys.readouterr().err
    assert set(owner.seen()) == {PETS}
