"""A registry that speaks the Hub's protocol, over networks that fail."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modhub.errors import AccessDenied, CommitConflict, HubError, IntegrityError, NotFound, UsageError
from modhub.fsops import bytes_of
from modhub.hub import hub_reader
from modhub.hub.client import Client
from modhub.hub.huggingface import HuggingFaceBackend
from modhub.hub.registries import open_registry
from modhub.hub.store import Store
from modhub.spec.digests import sha256
from tests.hub.packages import NOWHERE, PETS, check_whole, lock_of, module
from tests.hub.proxy import Fault, Proxy, first, proxied
from tests.hub.served import Served, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modhub.hub.backend import Backend
    from modhub.hub.transfer import Transfer

ROOT = Path(__file__).resolve().parents[2]
LARGE = random.Random(1).randbytes(12 << 20)  # noqa: S311  No secret.
WEIGHTS = "cat/1.0.0/delta.safetensors"
COMMIT = "/commit/main"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "served") as found:
        yield found


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = tuple(pause / 50 for pause in hub_reader.PAUSES_S)
    monkeypatch.setattr("modhub.hub.hub_reader.PAUSES_S", pauses)
    monkeypatch.setattr("modhub.hub.huggingface.PAUSES_S", pauses)


def client_of(backend: Backend, store: Path = NOWHERE) -> Client:
    return Client({"it": backend}, store=Store(store))


def publish_large(running: Served) -> None:
    client_of(running.backend()).publish(PETS, [module(content=LARGE)])


# Publishing.


def test_a_commit_whose_answer_was_lost_is_found(running: Served) -> None:
    with proxied(running.url, first(1, "POST", COMMIT, Fault(lose_answer=True))) as proxy:
        result = client_of(running.backend(proxy.url)).publish(PETS, [module()])
        assert proxy.count("POST", COMMIT) == 1
    assert result.published
    assert result.revision == running.backend().head(PETS)
    assert check_whole(running.backend()).revision == 1


def test_a_commit_whose_answer_was_lost_and_that_others_built_on_is_found(running: Served) -> None:
    def build_on() -> None:
        client_of(running.backend()).publish(PETS, [module("dog")])

    fault = Fault(lose_answer=True, then=build_on)
    with proxied(running.url, first(1, "POST", COMMIT, fault)) as proxy:
        assert client_of(running.backend(proxy.url)).publish(PETS, [module()]).already
    assert {release.name for release in check_whole(running.backend()).releases} == {"cat", "dog"}


@pytest.mark.parametrize(
    ("status", "method", "part"),
    [
        (429, "POST", COMMIT),
        (500, "POST", "/preupload/"),
        (502, "POST", "/repos/create"),
        (503, "GET", "/resolve/"),
        (504, "HEAD", "/resolve/"),
        (503, "GET", "/api/models"),
    ],
)
def test_a_busy_server_is_asked_again(running: Served, status: int, method: str, part: str) -> None:
    with proxied(running.url, first(2, method, part, Fault(status=status, headers={"Retry-After": "0"}))) as proxy:
        client = client_of(running.backend(proxy.url))
        client.publish(PETS, [module()])
        assert client.collections() == [PETS]
        assert check_whole(running.backend(proxy.url)).revision == 1
        assert proxy.count(method, part) >= 3


def test_a_server_that_stays_ill_is_given_up_and_nothing_is_changed(running: Served) -> None:
    with (
        proxied(running.url, first(99, "POST", COMMIT, Fault(status=503))) as proxy,
        pytest.raises(HubError, match="refuses a commit to acme/pets with status 503"),
    ):
        client_of(running.backend(proxy.url)).publish(PETS, [module()])
    assert running.backend().head(PETS) is None


def test_who_builds_on_an_old_commit_reads_again_and_succeeds(running: Served) -> None:
    def overtake() -> None:
        client_of(running.backend()).publish(PETS, [module("dog")])

    with proxied(running.url, first(1, "POST", "/preupload/", Fault(then=overtake))) as proxy:
        client_of(running.backend(proxy.url)).publish(PETS, [module()])
        assert proxy.count("POST", COMMIT) == 2
    assert check_whole(running.backend()).revision == 2


def test_many_publish_at_once_and_nothing_is_lost(running: Served) -> None:
    client_of(running.backend()).publish(PETS, [module()])
    failures: list[BaseException] = []

    def publish(number: int) -> None:
        try:
            client_of(running.backend()).publish(PETS, [module(version=f"2.{number}.0")])
        except BaseException as error:  # noqa: BLE001  Told by the main thread.
            failures.append(error)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert check_whole(running.backend()).revision == 5


@pytest.mark.parametrize("part", ["/info/lfs/objects/batch", "/lfs/", COMMIT])
def test_a_publisher_that_is_killed_leaves_nothing_half_there(running: Served, tmp_path: Path, part: str) -> None:
    client_of(running.backend()).publish(PETS, [module("bird")])
    killed: list[subprocess.Popen[bytes]] = []
    seen: list[str] = []

    def rule(method: str, path: str) -> Fault | None:
        seen.append(f"{method} {path}")
        if part in path and method in ("POST", "PUT") and killed[0].poll() is None:
            return Fault(then=killed[0].kill, lose_answer=True)
        return None

    with proxied(running.url, rule) as proxy:
        command = [sys.executable, "-m", "tests.hub.publisher"]
        arguments = [proxy.url, running.token, "1.0.0", str(tmp_path / "publisher")]
        killed.append(subprocess.Popen([*command, *arguments], cwd=ROOT, stderr=subprocess.PIPE))
        _, errors = killed[0].communicate(timeout=60)
        assert killed[0].returncode == -9, (errors, seen)
        names = {release.name for release in check_whole(running.backend()).releases}
        assert names == ({"bird", "cat", "dog"} if part == COMMIT else {"bird"})
        again = [running.url, running.token, "1.0.0", str(tmp_path / "publisher")]
        subprocess.run([*command, *again], cwd=ROOT, check=True, timeout=60)
    assert {release.name for release in check_whole(running.backend()).releases} == {"bird", "cat", "dog"}


def test_a_repository_without_an_index_becomes_a_collection(running: Served) -> None:
    backend = running.backend()
    backend.api.create_repo(str(PETS))
    backend.api.upload_file(path_or_fileobj=b"notes", path_in_repo="notes.txt", repo_id=str(PETS))
    assert backend.head(PETS) is None
    client_of(backend).publish(PETS, [module()])
    assert backend.read(PETS, "notes.txt", revision=backend.head(PETS), limit=10) == b"notes"


# Fetching.


def fetch_through(running: Served, proxy: Proxy, store: Path) -> bytes:
    client = client_of(running.backend(proxy.url), store)
    (files,) = client.fetch(lock_of(client.snapshot(PETS))).values()
    return bytes_of(files["delta.safetensors"])


def test_a_connection_that_is_cut_goes_on_where_it_stopped(running: Served, tmp_path: Path) -> None:
    publish_large(running)

    def cut(method: str, path: str) -> Fault | None:
        return Fault(cut_after=1 << 20) if method == "GET" and WEIGHTS in path else None

    with proxied(running.url, cut) as proxy:
        assert fetch_through(running, proxy, tmp_path / "store") == LARGE
        ranges = [headers.get("range") for _, path, headers in proxy.asked if WEIGHTS in path]
        assert ranges[:3] == [None, f"bytes={1 << 20}-", f"bytes={2 << 20}-"]
        assert proxy.sent < 1.2 * 2 * len(LARGE)  # The graph of such a module is as large as its weights.


def test_a_download_that_was_given_up_goes_on_in_the_next_try(running: Served, tmp_path: Path) -> None:
    publish_large(running)
    requests = [0]

    def die(method: str, path: str) -> Fault | None:
        if method != "GET" or WEIGHTS not in path:
            return None
        requests[0] += 1
        return Fault(cut_after=5 << 20) if requests[0] == 1 else Fault(status=503)

    with proxied(running.url, die) as proxy, pytest.raises(HubError, match="503"):
        fetch_through(running, proxy, tmp_path / "store")
    store = Store(tmp_path / "store")
    assert not store.has(sha256(LARGE))
    with proxied(running.url) as proxy:
        backend = replace(running.backend(proxy.url), name=running.url)
        client = client_of(backend, store.root)
        found = client.fetch(lock_of(client.snapshot(PETS)))["acme/pets/cat"]["delta.safetensors"]
        assert bytes_of(found) == LARGE
        asked = [headers.get("range") for _, path, headers in proxy.asked if WEIGHTS in path]
        assert asked == [f"bytes={5 << 20}-"]


def test_an_unfinished_download_that_was_damaged_is_begun_anew(running: Served, tmp_path: Path) -> None:
    publish_large(running)
    store = Store(tmp_path / "store")
    partial = store.root / "partial" / sha256(LARGE)
    partial.parent.mkdir(parents=True)
    for left in (bytes(5 << 20), LARGE + b"more", LARGE[:-1] + b"!", LARGE):
        partial.write_bytes(left)
        client = client_of(running.backend(), store.root)
        found = client.fetch(lock_of(client.snapshot(PETS)))["acme/pets/cat"]["delta.safetensors"]
        assert bytes_of(found) == LARGE
        store.discard(sha256(LARGE))


def test_a_server_that_sends_the_whole_instead_of_a_part_is_understood(running: Served) -> None:
    publish_large(running)
    with proxied(running.url, lambda *_: Fault(drop_range=True)) as proxy:
        found = running.backend(proxy.url).stream(PETS, WEIGHTS, revision=None, limit=len(LARGE), start=7 << 20)
        assert b"".join(found) == LARGE[7 << 20 :]


def test_a_server_that_sends_another_part_is_refused(running: Served) -> None:
    publish_large(running)
    with proxied(running.url, lambda *_: Fault(headers={"content-range": "bytes 0-1/2"})) as proxy:
        backend = running.backend(proxy.url)
        with pytest.raises(HubError, match="asked from byte 9 on, the server sends another part"):
            list(backend.stream(PETS, WEIGHTS, revision=None, limit=len(LARGE), start=9))


@pytest.mark.parametrize("part", [WEIGHTS, "cat/1.0.0/model.onnx", "cat/1.0.0/module.json"])
def test_wrong_bytes_are_never_seen(running: Served, tmp_path: Path, part: str) -> None:
    publish_large(running)
    store = Store(tmp_path / "store")

    def flip(method: str, path: str) -> Fault | None:
        return Fault(flip=True) if method == "GET" and part in path else None

    with proxied(running.url, flip) as proxy, pytest.raises(IntegrityError, match="is not the file that was published"):
        fetch_through(running, proxy, store.root)
    assert all(store.check(digest, size=1 << 30) for digest in store.digests())
    with proxied(running.url) as proxy:
        assert fetch_through(running, proxy, store.root) == LARGE


def test_what_comes_is_told(running: Served, tmp_path: Path) -> None:
    publish_large(running)
    told: list[Transfer] = []
    client = client_of(running.backend(), tmp_path / "store")
    client.fetch(lock_of(client.snapshot(PETS)), progress=told.append)
    assert len(told) > 3
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert told[-1].done == told[-1].total >= len(LARGE)


def test_a_second_install_asks_the_server_nothing(running: Served, tmp_path: Path) -> None:
    publish_large(running)
    with proxied(running.url) as proxy:
        client = client_of(running.backend(proxy.url), tmp_path / "store")
        lock = lock_of(client.snapshot(PETS))
        client.fetch(lock)
        count = len(proxy.asked)
        client.fetch(lock)
        offline = Client({"it": running.backend(proxy.url)}, store=client.store, offline=True)
        offline.fetch(lock)
        assert offline.index(PETS) == client.index(PETS)
        assert len(proxy.asked) == count + 1


@pytest.mark.parametrize("kind", ["server", "folder"])
def test_a_large_file_is_never_held(running: Served, tmp_path: Path, kind: str) -> None:
    size = 96 << 20
    registry = running.url if kind == "server" else str(tmp_path / "registry")
    command = [sys.executable, "-m", "tests.hub.large", registry, running.token, str(size), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < size // 2


# Who may.


def test_a_private_collection_is_shown_to_its_owner_only(running: Served) -> None:
    backend = replace(running.backend(), private=True)
    client_of(backend).publish(PETS, [module()])
    assert list(backend.collections()) == [PETS]
    for stranger in (running.reader(), HuggingFaceBackend.of_server(running.url)):
        assert stranger.head(PETS) is None
        assert list(stranger.collections()) == []
        with pytest.raises(NotFound, match="not there, or not shown to you; log in if it is private"):
            stranger.read(PETS, WEIGHTS, revision=backend.head(PETS), limit=100)


def test_who_may_not_write_is_told(running: Served) -> None:
    client_of(running.backend()).publish(PETS, [module()])
    wrong = HuggingFaceBackend.of_server(running.url).with_token("mh_wrong")
    for backend in (running.reader(), running.reader("mallory", "write"), HuggingFaceBackend.of_server(running.url)):
        with pytest.raises(AccessDenied, match="refuses"):
            client_of(backend).publish(PETS, [module("dog")])
    with pytest.raises(AccessDenied):
        wrong.whoami()
    with pytest.raises(AccessDenied, match="there is no token for"):
        HuggingFaceBackend.of_server(running.url).whoami()
    assert running.backend().whoami() == "acme"


def test_a_gated_repository_is_called_so(running: Served) -> None:
    publish_large(running)
    fault = Fault(status=403, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": "Ask for access"})
    with proxied(running.url, lambda *_: fault) as proxy:
        backend = running.backend(proxy.url)
        with pytest.raises(AccessDenied, match=r"acme/pets .* is gated: .*Ask for access"):
            backend.head(PETS)
        with pytest.raises(AccessDenied, match="is gated"):
            backend.read(PETS, WEIGHTS, revision=None, limit=1)


def test_tokens_go_where_they_belong(running: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from modhub.hub import tokens

    client_of(running.backend()).publish(PETS, [module()])
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with proxied(running.url) as proxy:

        def sent(*, named: bool) -> set[str | None]:
            proxy.asked.clear()
            client_of(open_registry(proxy.url, named=named), tmp_path / "store").index(PETS)
            list(open_registry(proxy.url, named=named).collections())
            return {headers.get("authorization") for *_, headers in proxy.asked}

        assert sent(named=True) == {None}
        monkeypatch.setenv("MODHUB_TOKEN", running.token)
        assert sent(named=True) == {f"Bearer {running.token}"}
        assert sent(named=False) == {None}
        tokens.keep_token(proxy.url, running.token)
        assert sent(named=False) == {f"Bearer {running.token}"}
        tokens.keep_token("http://elsewhere", "other")
        assert tokens.drop_token(proxy.url)
        assert not tokens.drop_token(proxy.url)
        assert sent(named=False) == {None}
        assert tokens.read_tokens() == {"http://elsewhere": "other"}
    assert tokens.tokens_file().stat().st_mode & 0o077 == 0


def test_a_token_is_in_no_message() -> None:
    backend = HuggingFaceBackend.of_server("http://localhost:1").with_token("mh_secret")
    assert "mh_secret" not in repr(backend)


# Which registry.


def test_equal_names_at_two_servers_stay_apart(running: Served, tmp_path: Path) -> None:
    with served(tmp_path / "other") as other:
        contents = {running.url: b"ours", other.url: b"theirs"}
        for server in (running, other):
            client_of(server.backend()).publish(PETS, [module(content=contents[server.url])])
        store = tmp_path / "store"
        for _ in range(2):
            for server in (running, other):
                client = client_of(server.backend(), store)
                (files,) = client.fetch(lock_of(client.snapshot(PETS))).values()
                assert bytes_of(files["delta.safetensors"]) == contents[server.url]
        for server in (running, other):
            offline = Client({"it": server.backend()}, store=Store(store), offline=True)
            (files,) = offline.fetch(lock_of(offline.snapshot(PETS))).values()
            assert bytes_of(files["delta.safetensors"]) == contents[server.url]


PROGRAM = """
import json, sys
from modhub.hub.client import Client
from modhub.hub.registries import open_registry
from modhub.hub.search import Query
from modhub.hub.store import Store
from pathlib import Path
hub = open_registry(sys.argv[1])
client = Client({"hub": hub}, store=Store(Path(sys.argv[2])))
found = client.search(Query(class_name="cat"))
print(json.dumps([hub.name, hub.place, [hit.name for hit in found.hits]]))
"""


def test_the_hub_is_where_its_own_client_says_it_is(running: Served, tmp_path: Path) -> None:
    client_of(running.backend()).publish(PETS, [module(), module("dog")])
    environment = {**os.environ, "HF_ENDPOINT": running.url, "PYTHONPATH": str(ROOT)}
    for scope, names in {"": ["cat"], "acme": ["cat"], "acme/pets": ["cat"], "other": [], "acme/cars": []}.items():
        command = [sys.executable, "-c", PROGRAM, f"hf://{scope}", str(tmp_path / "store")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        expected = [f"hf://{scope}", f"hf://{scope} at {running.url}", [f"acme/pets/{name}" for name in names]]
        assert json.loads(done.stdout) == expected
        if scope == "acme":
            dead = {**environment, "HF_ENDPOINT": "http://127.0.0.1:1"}
            command[-2] = running.url
            done = subprocess.run(command, env=dead, capture_output=True, text=True, check=True, timeout=60)
            assert json.loads(done.stdout) == [running.url, running.url, ["acme/pets/cat"]]


def test_a_scope_is_kept_to(running: Served) -> None:
    publish_large(running)
    other = replace(running.backend(), owner="other")
    assert other.head(PETS) is None
    with pytest.raises(NotFound):
        other.read(PETS, WEIGHTS, revision=None, limit=1)
    with pytest.raises(UsageError, match="does not belong into"):
        client_of(other).publish(PETS, [module()])


@pytest.mark.parametrize(
    "text", ["hf://a/b/c", "hf://a//", "hf:///b", "hf://..", "hf://a--b", "http://", "https://me:secret@host",
             "http://host?x=1", "http://host#x", "http://host:x"],
)  # fmt: skip
def test_an_address_that_names_no_registry_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no registry|is no address of a registry"):
        open_registry(text)


def test_one_server_has_one_name() -> None:
    for text in ("http://Host:80/", "HTTP://host:80", "http://host:80"):
        assert open_registry(text).name == "http://host:80"


def test_a_server_that_is_not_there_is_told() -> None:
    backend = HuggingFaceBackend.of_server("http://127.0.0.1:1")
    works: list[Callable[[], object]] = [
        lambda: backend.head(PETS),
        lambda: list(backend.collections()),
        lambda: backend.read(PETS, WEIGHTS, revision=None, limit=1),
        lambda: client_of(backend).publish(PETS, [module()]),
    ]
    for work in works:
        with pytest.raises(HubError, match=r"http://127\.0\.0\.1:1 cannot be reached for .*"):
            work()


def test_a_server_that_is_no_hub_is_told(running: Served) -> None:
    with proxied(running.url, lambda *_: Fault(status=200)) as proxy, pytest.raises(HubError, match="does not speak"):
        running.backend(proxy.url).head(PETS)


def test_a_conflict_is_one_also_when_the_server_says_nothing_else(running: Served) -> None:
    with (
        proxied(running.url, first(1, "POST", COMMIT, Fault(status=412))) as proxy,
        pytest.raises(CommitConflict),
    ):
        running.backend(proxy.url).commit(PETS, {"modhub.json": b"{}"}, parent=None, message="test")
