"""F1, F2, F3, F4, F5: wrong tokens, scopes, tokens that are told, links for uploads, and hostile addresses."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from modhub_registry.auth import links
from modhub_registry.settings import Limits
from tests.server.collections import lines
from tests.server.process import process
from tests.server.service import LIMITS, Answer, header, served
from tests.support.figures import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.service import Service
    from tests.support.figures import Figures


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry with a public and a private repository of alice's."""
    with served(tmp_path_factory.mktemp("registry")) as found:
        for name, private in (("alice/open", False), ("alice/hidden", True)):
            found.api().create_repo(name, private=private)
            assert found.commit(name, header(), *lines({"a": b"canary 7f3a"})).status == 200
        yield found


def asked_from(service: Service, address: str, token: str) -> int:
    """Return the status of a request from an address of this machine, with a token."""
    parts = urlsplit(service.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30, source_address=(address, 0))
    try:
        connection.request("GET", "/api/whoami-v2", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_tokens_are_not_found_by_trying(tmp_path: Path, figures: Figures) -> None:
    count = size(100, 10_000)
    with served(tmp_path, limits=Limits(requests_per_minute=0)) as service:
        mine, other = service.token("alice"), service.token("bob")
        assert asked_from(service, "127.0.0.1", mine) == 200
        statuses = [asked_from(service, "127.0.0.1", f"hf_wrong{number}") for number in range(count)]
        assert statuses == [401] * 10 + [429] * (count - 10)
        # Who was at work here goes on; somebody elsewhere does not notice at all.
        assert asked_from(service, "127.0.0.1", mine) == 200
        assert asked_from(service, "127.0.0.2", other) == 200
        assert asked_from(service, "127.0.0.1", other) == 200
        assert service.call("GET", "/api/models").status == 200
        answer = service.call("GET", "/api/models", headers={"Authorization": "Bearer hf_wrong"})
        assert (answer.status, answer.headers["x-error-code"]) == (429, "TooManyRequests")
        assert 0 < int(answer.headers["retry-after"]) <= 300
        # From many addresses, each is refused in its turn, and all together no more than a thousand are looked at.
        many = [
            asked_from(service, f"127.0.1.{address}", f"hf_wrong{address}-{number}")
            for address in range(1, 51)
            for number in range(12)
        ]
        assert many == ([401] * 10 + [429] * 2) * 50
        more = [
            asked_from(service, f"127.0.2.{address}", f"hf_wrong-{address}-{number}")
            for address in range(1, 61)
            for number in range(10)
        ]
        assert more.count(401) == 1000 - 10 - 500
        assert more[-1] == 429
        assert asked_from(service, "127.0.0.3", mine) == 200
    figures.tell("F1", "wrong tokens", sent=count + len(many) + len(more), looked_at=1000, good_ones_refused=0)


# F2. For each route: the method, the path, the body, and what a stranger learns who may not.
BODIES: dict[str, Any] = {
    "batch": {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}]},
    "files": {"files": []},
}
READS = [
    "/api/models/{repo}",
    "/api/models/{repo}/revision/main",
    "/api/models/{repo}/tree/main",
    "/api/models/{repo}/commits/main",
    "/api/models/{repo}/refs",
    "/api/models/{repo}/treesize/main",
    "/api/models/{repo}/auth-check",
    "/{repo}/resolve/main/a",
]
WRITES = [
    ("POST", "/api/models/{repo}/commit/main", None),
    ("POST", "/api/models/{repo}/preupload/main", BODIES["files"]),
    ("POST", "/api/models/{repo}/tag/main", {"tag": "t"}),
    ("DELETE", "/api/models/{repo}/tag/nothing", None),
    ("POST", "/api/models/{repo}/branch/b", {}),
    ("DELETE", "/api/models/{repo}/branch/nothing", None),
    ("PUT", "/api/models/{repo}/settings", {}),
    ("POST", "/{repo}.git/info/lfs/objects/batch", BODIES["batch"]),
    ("GET", "/api/models/{repo}/auth-check/write", None),
]
WHO = {
    "nobody": ("", ""),
    "owner, read": ("alice", "read"),
    "owner, write": ("alice", "write"),
    "stranger, read": ("eve", "read"),
    "stranger, write": ("eve", "write"),
    "admin": ("root", "admin"),
}


def may(who: str, *, write: bool, private: bool) -> tuple[int, ...]:
    """Return the statuses that may be answered, as the page on the interface has it; 0 stands for success."""
    if who in ("owner, write", "admin"):
        return (0,)
    if write and who == "nobody":
        # Whether it is hidden or not there, a token may help.
        return (401, 404) if private else (401,)
    if private and who != "owner, read":
        return (404,)
    return (403,) if write else (0,)


def test_every_scope_on_every_route(service: Service, figures: Figures) -> None:
    cells = 0
    for who, private in itertools.product(WHO, (False, True)):
        user, scope = WHO[who]
        repo = "alice/hidden" if private else "alice/open"
        for method, path, body in [*(("GET", path, None) for path in READS), *WRITES]:
            write = (method, path, body) in WRITES
            sent = body if body is not None or method == "GET" else {}
            answer = service.call(method, path.format(repo=repo), sent, user=user, scope=scope)
            allowed = may(who, write=write, private=private)
            seen = (
                0
                if answer.status < 400 or (answer.status not in (401, 403) and not is_hidden(answer))
                else answer.status
            )
            assert seen in allowed, (who, method, path, repo, answer)
            cells += 1
    for who, (user, scope) in WHO.items():
        answer = service.call("GET", "/api/modhub/audit", user=user, scope=scope)
        assert answer.status == (200 if who == "admin" else 401 if who == "nobody" else 403), who
        cells += 1
    figures.tell("F2", "scopes x routes x own, other, private", cells=cells, wrong=0)


def is_hidden(answer: Answer) -> bool:
    """Tell whether an answer says that there is no such repository."""
    return answer.headers.get("x-error-code") == "RepoNotFound"


def test_a_token_is_told_nowhere(
    tmp_path: Path, figures: Figures, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with process(tmp_path) as server:
        service = server.service
        tokens = [service.token("alice"), service.token("bob", "read"), "hf_modhub_" + "w" * 43]
        answers: list[str] = []
        service.api().create_repo("alice/told")
        for token in tokens:
            for path in ("/api/models", "/nothing", "/alice/told/resolve/main/none", f"/api/models?search={'x' * 999}"):
                answer = service.call("GET", path, headers={"Authorization": f"Bearer {token}"})
                answers += [str(dict(answer.headers)), answer.body.decode("utf-8", "replace")]
            # As a password of an address, and in an address: clients do that.
            answers.append(service.call("GET", f"/api/models?token={token}").body.decode())
        listing = (
            Path(f"/proc/{server.running.pid}/cmdline").read_bytes()
            + Path(f"/proc/{server.running.pid}/environ").read_bytes()
        )
    told = capfd.readouterr()
    places = {
        "answers": "".join(answers),
        "log": caplog.text + told.out + told.err,
        "process": listing.decode("utf-8", "replace"),
    }
    for file in tmp_path.rglob("*"):
        if file.is_file():
            places[file.name] = file.read_bytes().decode("latin-1")
    hits = [name for name, text in places.items() for token in tokens if token.removeprefix("hf_") in text]
    assert hits == []
    figures.tell("F3", "answers, log, process, database, files", places=len(places), tokens=len(tokens), hits=0)


def batch(service: Service, repo: str, data: bytes) -> str:
    """Return the permit to send a content to a repository."""
    body = {"operation": "upload", "objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}]}
    answer = service.call("POST", f"/{repo}.git/info/lfs/objects/batch", body, user=repo.partition("/")[0])
    found: str = answer.json()["objects"][0]["actions"]["upload"]["href"]
    return found.rpartition("/")[2]


def test_a_link_is_for_one_content_in_one_repository_for_a_while(service: Service, figures: Figures) -> None:
    data, other = os.urandom(100_000), os.urandom(100_000)
    text = batch(service, "alice/open", data)
    secret = service.registry.secret
    permit = links.open_permit(text, secret)
    changed: dict[str, dict[str, Any]] = {
        "another content": {"oid": hashlib.sha256(other).hexdigest()},
        "another size": {"size": 1},
        "another repository": {"repo": permit.repo + 1},
        "for ever": {"until": 1 << 60},
    }
    tried = 0
    for change in changed.values():
        # Whoever has the link can write these, and cannot sign them.
        forged = links.sign(links.Permit(**{**vars(permit), **change}), b"another secret")
        body = forged.partition(".")[0]
        for link in (forged, f"{body}.{text.partition('.')[2]}", body, f"{body}."):
            assert service.call("PUT", f"/_upload/{link}", data).status == 403
            tried += 1
    old = links.sign(links.Permit(**{**vars(permit), "until": 1}), secret)
    assert service.call("PUT", f"/_upload/{old}", data).status == 403
    assert service.call("PUT", f"/_upload/{text}", other).status == 400
    assert service.call("PUT", f"/_upload/{text}", data[:-1]).status == 400
    # Twice is once; and what was sent counts in its own repository only.
    assert [service.call("PUT", f"/_upload/{text}", data).status for _ in range(2)] == [200, 200]
    service.api("eve").create_repo("eve/other", exist_ok=True)
    line = {"key": "lfsFile", "value": {"path": "x", "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}
    assert service.commit("eve/other", header(), line, user="eve").status == 400
    assert service.commit("alice/open", header(), line).status == 200
    figures.tell("F4", "forged, old, for another content, size or repository", tried=tried + 4, taken=0)


OUTSIDE = ("registry.sqlite", "etc/passwd", "secret", "blobs", "proc/self/environ")
UPS = (
    "../",
    "../" * 8,
    "..\\",
    "..\\" * 8,
    "....//",
    "..;/",
    "./../",
    "/",
    "//",
    "\\",
    "C:\\",
    "C:/",
    "file:///",
    "~/",
    "\x00/",
)
DOTS = (
    "%2e%2e/",
    "%2e%2e%2f",
    "..%2f",
    "%252e%252e%252f",
    "..%252f",
    "..%c0%af",
    "%c0%ae%c0%ae/",
    "..%5c",
    "%00",
    "..%00/",
    "%ff/",
)
WORDS = (
    "..",
    ".",
    "",
    " ",
    "%20",
    "%0a",
    "%0d%0aX-Evil:%201",
    "a%00b",
    "con",
    "nul",
    ".git/config",
    "-",
    "x" * 2000,
    "%E2%80%AE",
    "é",
)
HOSTILE = tuple(
    dict.fromkeys(
        [f"{up}{name}" for up in UPS for name in OUTSIDE]
        + [f"{up}{name}" for up in DOTS for name in OUTSIDE]
        + list(WORDS)
    )
)
PARAMETERS = [
    ("GET", "/alice/open/resolve/main/{}"),
    ("GET", "/alice/open/resolve/{}/a"),
    ("GET", "/alice/{}/resolve/main/a"),
    ("GET", "/{}/open/resolve/main/a"),
    ("GET", "/api/models/alice/{}"),
    ("GET", "/api/models/{}/open"),
    ("GET", "/api/models/alice/open/tree/main/{}"),
    ("GET", "/api/models/alice/open/tree/{}"),
    ("GET", "/api/models/alice/open/commits/{}"),
    ("GET", "/api/models/alice/open/revision/{}"),
    ("DELETE", "/api/models/alice/open/tag/{}"),
    ("DELETE", "/api/models/alice/open/branch/{}"),
    ("PUT", "/_upload/{}"),
    ("GET", "/static/{}"),
    ("GET", "/{}"),
]
FOUND_ELSEWHERE = re.compile(rb"SQLite format 3|root:x:0|canary 7f3a")


def forms(text: str) -> list[str]:
    """Return a text as it is, once and twice percent-coded; raw only where a request line can hold it."""
    once = quote(text, safe="")
    raw = "".join(char if 32 < ord(char) < 127 and char not in "?#" else quote(char) for char in text)
    return list(dict.fromkeys((raw, once, quote(once, safe=""))))


def test_no_address_leads_outside(service: Service, figures: Figures) -> None:
    asked = 0
    parts = urlsplit(service.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {"Authorization": f"Bearer {service.token('alice')}"}
    every = size(5, 1)
    for number, ((method, route), text) in enumerate(itertools.product(PARAMETERS, HOSTILE)):
        # All texts, all routes and all codings, but not all of their combinations; with MODHUB_STRESS, all.
        written = forms(text)
        for form in written if every == 1 else [written[number % len(written)]]:
            if every > 1 and number % every and not route.startswith("/alice/open/resolve/main"):
                continue
            connection.request(method, route.format(form), headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            where = (method, route, form)
            assert answer.status < 500, where
            if answer.status < 400:
                # A name that means the root, or nothing: then what is public there and nothing else.
                assert not FOUND_ELSEWHERE.search(body) or route.endswith("/a"), where
            else:
                assert not FOUND_ELSEWHERE.search(body), where
            assert "X-Evil" not in answer.headers
            asked += 1
    connection.close()
    figures.tell("F5", "hostile addresses", texts=len(HOSTILE), parameters=len(PARAMETERS), asked=asked, led_outside=0)


def test_the_limit_on_wrong_tokens_is_off_in_other_tests() -> None:
    assert LIMITS.wrong_tokens == 0
    assert Limits().wrong_tokens == 10
