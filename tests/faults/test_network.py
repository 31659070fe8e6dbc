"""D1, D2, D3: connections that are cut, servers that lie, and bytes that change on the way."""

from __future__ import annotations

import gzip
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from modhub.errors import HubError, IntegrityError, ModhubError
from modhub.fsops import bytes_of
from modhub.hub import hub_reader
from modhub.hub.client import Client
from modhub.hub.store import Store
from modhub.spec.digests import sha256
from tests.hub.packages import PETS, lock_of, module
from tests.hub.proxy import Fault, proxied
from tests.hub.served import Served, served
from tests.support.figures import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.hub.proxy import Proxy
    from tests.support.figures import Figures

    Rule = Callable[[str, str], Fault | None]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")]

CUT_EVERY = 64 << 10
LARGE = random.Random(1).randbytes(10 << 20)  # noqa: S311  No secret.
SMALL = b"small weights " * 100
WEIGHTS = "cat/1.0.0/delta.safetensors"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a collection of a large module and one of a small one."""
    with served(tmp_path_factory.mktemp("served")) as found:
        for name, content in (("pets", SMALL), ("large", LARGE)):
            client = Client({"it": found.backend()}, store=Store(tmp_path_factory.mktemp("publisher")))
            client.publish(replace(PETS, name=name), [module(content=content)])
        yield found


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for milliseconds where people would wait for seconds; how often is tried stays the same."""
    monkeypatch.setattr(hub_reader, "PAUSES_S", tuple(pause / 100 for pause in hub_reader.PAUSES_S))
    monkeypatch.setattr(hub_reader, "PATIENCE_S", 0.1)
    monkeypatch.setattr(hub_reader, "SLOW_S", 3.0)


def fetch(running: Served, proxy: Proxy, store: Path, *, name: str = "pets") -> bytes:
    """Fetch a module through a proxy and return its weights."""
    backend = replace(running.backend(proxy.url), name=running.url)
    client = Client({"it": backend}, store=Store(store))
    lock = lock_of(client.snapshot(replace(PETS, name=name)))
    modules = tuple(replace(each, name=f"acme/{name}/cat") for each in lock.modules)
    (files,) = client.fetch(replace(lock, modules=modules)).values()
    return bytes_of(files["delta.safetensors"])


def check_store(root: Path) -> None:
    """Check that nothing damaged was kept."""
    store = Store(root)
    assert all(store.check(digest, size=1 << 30) for digest in store.digests())


def test_a_download_that_is_cut_again_and_again(running: Served, tmp_path: Path, figures: Figures) -> None:
    cuts = [0]

    def cut(method: str, path: str) -> Fault | None:
        if method != "GET" or WEIGHTS not in path:
            return None
        cuts[0] += 1
        return Fault(cut_after=CUT_EVERY)

    with proxied(running.url, cut) as proxy:
        found = fetch(running, proxy, tmp_path / "store", name="large")
        assert found == LARGE
        other = len(module(content=LARGE).read("model.onnx"))
        again = proxy.sent - other - len(LARGE)
        assert again < 0.2 * len(LARGE)
    figures.tell("D1", "10 MB, cut every 64 KiB", cuts=cuts[0], bytes_sent_again=again, damaged=0)


@dataclass(frozen=True)
class Lie:
    """What a server says that is not so, and whether the right bytes may come all the same."""

    fault: Fault
    part: str = WEIGHTS
    method: str = "GET"
    name: str = "pets"
    after_cut: bool = False


PAGE = b"<html>Please log in to this network</html>"
LIES = {
    "the whole instead of a part": Lie(Fault(drop_range=True), name="large", after_cut=True),
    "another part than asked": Lie(Fault(headers={"content-range": "bytes 7-8/9"}), name="large", after_cut=True),
    "a part that is none": Lie(Fault(headers={"content-range": "bytes x"}), name="large", after_cut=True),
    "a file that grew": Lie(Fault(headers={"content-range": "bytes 0-9/99999999999"})),
    "another ETag after a cut": Lie(Fault(headers={"etag": '"other"'}), name="large", after_cut=True),
    "other bytes after a cut": Lie(Fault(body=b"other bytes"), name="large", after_cut=True),
    "a length that is too short": Lie(Fault(length=10)),
    "a length that is too long": Lie(Fault(length=1 << 20)),
    "a length of 10 TB": Lie(Fault(length=10 << 40)),
    "plain bytes that are called gzip": Lie(Fault(headers={"content-encoding": "gzip"})),
    "right bytes in gzip": Lie(Fault(headers={"content-encoding": "gzip"}, body=gzip.compress(SMALL))),
    "a gzip bomb": Lie(Fault(headers={"content-encoding": "gzip"}, body=gzip.compress(bytes(64 << 20)))),
    "another file": Lie(Fault(body=b"another file")),
    "a page to log in": Lie(Fault(body=PAGE, headers={"content-type": "text/html"})),
    "nothing": Lie(Fault(body=b"")),
    "a body without end": Lie(Fault(endless=True)),
    "an index without end": Lie(Fault(endless=True), part="modhub.json"),
    "an index that is a page": Lie(Fault(body=PAGE), part="modhub.json"),
    "an index 100,000 deep": Lie(Fault(body=b"[" * 100_000), part="modhub.json"),
    "a loop of redirects": Lie(Fault(status=302, headers={"Location": f"/acme/pets/resolve/main/{WEIGHTS}"})),
    "a redirect to a file": Lie(Fault(status=302, headers={"Location": "file:///etc/passwd"})),
    "a redirect to nowhere": Lie(Fault(status=302, headers={"Location": "http://127.0.0.1:1/x"})),
    "a redirect without a target": Lie(Fault(status=302)),
    "429 for ever": Lie(Fault(status=429, headers={"Retry-After": "99999999"})),
    "429 until some day": Lie(Fault(status=429, headers={"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"})),
    "500 for ever": Lie(Fault(status=500)),
    "502 for ever": Lie(Fault(status=502)),
    "503 for ever": Lie(Fault(status=503)),
    "a byte now and then": Lie(Fault(drip_s=0.05)),
    "a list, a byte now and then": Lie(Fault(drip_s=0.05), part="modhub.json"),
    "204": Lie(Fault(status=204)),
    "304": Lie(Fault(status=304)),
    "404": Lie(Fault(status=404)),
    "a head of no commit": Lie(
        Fault(status=200, headers={"X-Repo-Commit": "../.."}), method="HEAD", part="modhub.json"
    ),
    "a head of nothing": Lie(Fault(status=200), method="HEAD", part="modhub.json"),
}


@pytest.mark.parametrize("case", LIES)
def test_a_server_that_lies(running: Served, tmp_path: Path, case: str, figures: Figures) -> None:
    lie, asked = LIES[case], [0]

    def rule(method: str, path: str) -> Fault | None:
        if method != lie.method or lie.part not in path:
            return None
        asked[0] += 1
        if lie.after_cut and asked[0] == 1:
            return Fault(cut_after=1 << 20)
        return lie.fault if not lie.after_cut or asked[0] == 2 else None

    right = {"pets": SMALL, "large": LARGE}[lie.name]
    began = time.monotonic()
    with proxied(running.url, rule) as proxy:
        outcome = "right bytes"
        try:
            came = fetch(running, proxy, tmp_path / "store", name=lie.name)
        except ModhubError as error:
            outcome, came = type(error).__name__, right
        assert came == right
        assert proxy.sent < 4 * len(LARGE) + (32 << 20)
    assert time.monotonic() - began < PATIENCE_S
    check_store(tmp_path / "store")
    # Once the server is honest again, nothing that it said is in the way.
    with proxied(running.url) as proxy:
        assert fetch(running, proxy, tmp_path / "store", name=lie.name) == right
    figures.tell("D2", case, outcome=outcome)


def test_a_token_is_not_sent_to_whom_a_server_points(running: Served, tmp_path: Path, figures: Figures) -> None:
    with proxied(running.url) as elsewhere:
        target = elsewhere.url.replace("127.0.0.1", "localhost")

        def away(_: str, path: str) -> Fault | None:
            return Fault(status=302, headers={"Location": target + path}) if "/resolve/" in path else None

        with proxied(running.url, away) as proxy:
            try:
                came = fetch(running, proxy, tmp_path / "store")
            except HubError:
                came = SMALL
        assert came == SMALL
        told = [path for _, path, headers in elsewhere.asked if "authorization" in headers]
        assert told == []
    figures.tell("D2", "redirect to another origin", tokens_told=len(told))


def test_a_byte_that_changes_on_the_way_is_never_installed(running: Served, tmp_path: Path, figures: Figures) -> None:
    chance = random.Random(3)  # noqa: S311  No secret.
    count = size(50, 1_000)
    files = [WEIGHTS, "cat/1.0.0/module.json"]
    with proxied(running.url) as proxy:
        for number in range(count):
            part, place = files[number % len(files)], chance.randrange(1 << 20)

            def flip(method: str, path: str, part: str = part, place: int = place) -> Fault | None:
                return Fault(flip=True, flip_at=place) if method == "GET" and part in path else None

            proxy.rule = flip
            with pytest.raises(IntegrityError, match="is not the file that was published"):
                fetch(running, proxy, tmp_path / f"store-{number}")
            check_store(tmp_path / f"store-{number}")
        proxy.rule = lambda *_: None
        assert fetch(running, proxy, tmp_path / "store") == SMALL
    assert Store(tmp_path / "store").has(sha256(SMALL))
    figures.tell("D3", "one byte of the same length", runs=count, installed=0)
