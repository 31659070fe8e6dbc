"""Whatever is sent: a refusal that says why, nothing kept of it, and never a bug."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub_registry.auth import links
from modhub_registry.settings import Limits
from tests.server.collections import lines
from tests.server.service import LIMITS, Answer, header, served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.service import Service

NONE = b"0" * 64
UPLOAD = {"operation": "upload", "transfers": ["basic"]}


def check_refused(answer: Answer, status: int, code: str = "BadRequest") -> None:
    """Check that a request was refused, and that programs and people learn why."""
    assert (answer.status, answer.headers.get("x-error-code")) == (status, code), answer.body
    assert answer.headers["x-error-message"]
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "a/./b",
        "",
        ".",
        "..",
        "a\\b",
        "a\x00b",
        "a\nb",
        ".git/config",
        "a/.GIT/hooks/x",
        "x" * 300,
        "/".join("x" * 40),
        "a/" * 600 + "b",
        "\ud800",
        None,
        7,
        ["a"],
    ],
)
def test_paths_stay_within_their_repository(service: Service, repo: str, path: object) -> None:
    line = {"key": "file", "value": {"path": path, "content": "", "encoding": "base64"}}
    check_refused(service.commit(repo, header(), line), 400)
    check_refused(
        service.call(
            "POST", f"/api/models/{repo}/preupload/main", {"files": [{"path": path, "size": 1}]}, user="alice"
        ),
        400,
    )


@pytest.mark.parametrize(
    "path", ["..%2f..%2fregistry.sqlite", "%2e%2e/%2e%2e/registry.sqlite", "a%00b", "%ff", "a/../b"]
)
def test_nothing_outside_is_served(service: Service, repo: str, path: str) -> None:
    answer = service.call("GET", f"/{repo}/resolve/main/{path}")
    assert answer.status in {400, 404}
    assert answer.headers["x-error-code"] in {"BadRequest", "EntryNotFound"}


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("alice", "x" * 97),
        ("alice", "a" * 97),
        ("alice", "a--b"),
        ("alice", "a..b"),
        ("alice", "a.git"),
        ("alice", "nul"),
        ("alice", "-a"),
        ("alice", "a/b"),
        ("alice", "ä"),
        ("alice", ""),
        ("alice", 7),
        ("api", "x"),
        ("datasets", "x"),
    ],
)
def test_names_that_mean_something_else_are_refused(service: Service, owner: str, name: object) -> None:
    body = {"name": name, "organization": owner}
    check_refused(service.call("POST", "/api/repos/create", body, user="root", scope="admin"), 400)


def test_names_that_would_be_confused_are_refused(service: Service) -> None:
    assert service.call("POST", "/api/repos/create", {"name": "My-Net"}, user="alice").status == 200
    for twin in ("my-net", "My_Net", "my.net"):
        check_refused(service.call("POST", "/api/repos/create", {"name": twin}, user="alice"), 409, "Conflict")


@pytest.mark.parametrize("tag", ["", "a..b", "a b", "x" * 201, "-", "HEAD", "a/", "a.lock", "0" * 40, "\x00", None, 3])
def test_tags_have_names_that_git_takes(service: Service, repo: str, tag: object) -> None:
    answer = service.call("POST", f"/api/models/{repo}/tag/main", {"tag": tag}, user="alice")
    if tag == "-":
        assert answer.status == 201
    else:
        check_refused(answer, 400)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"{",
        b"[]",
        b'"text"',
        b"[" * 100_000,
        b'{"key": "header", "value": []}',
        b'{"key": "header"}',
        b'{"key": "header", "value": {"summary": 3}}',
        b'{"key": "header", "value": {"summary": "\\u0000"}}',
        b'{"key": "header", "value": {"parentCommit": 3}}',
        b'{"key": "header", "value": {}}\n{"key": "header", "value": {}}',
        b'{"key": "file", "value": {"path": "a", "content": "AA=="}}',
        b'{"key": "header", "value": {}}\n{"key": "other", "value": {"path": "a"}}',
        b'{"key": "header", "value": {}}\n{"key": "file", "value": {"path": "a", "content": "***"}}',
        b'{"key": "header", "value": {}}\n{"key": "file", "value": {"path": "a", "content": "AA==", "encoding": "x"}}',
        b'{"key": "header", "value": {}}\n{"key": "lfsFile", "value": {"path": "a", "oid": "x", "size": 1}}',
        b'{"key": "header", "value": {}}\n{"key": "lfsFile", "value": {"path": "a", "oid": "%s", "size": -1}}'
        % (b"0" * 64),
        b'{"key": "header", "value": {}}\n{"key": "lfsFile", "value": {"path": "a", "oid": "%s", "size": 1}}'
        % (b"0" * 64),
        b"\xff\xfe",
    ],
)
def test_a_commit_that_makes_no_sense_is_refused(service: Service, repo: str, body: bytes) -> None:
    before = service.api().model_info(repo).sha
    check_refused(service.call("POST", f"/api/models/{repo}/commit/main", body, user="alice"), 400)
    assert service.api().model_info(repo).sha == before


def test_a_file_is_no_folder(service: Service, repo: str) -> None:
    assert service.commit(repo, header(), *lines({"a": b"1", "b/c": b"2"})).status == 200
    check_refused(service.commit(repo, header(), *lines({"a/x": b"1"})), 400)
    check_refused(service.commit(repo, header(), *lines({"b": b"1"})), 400)
    check_refused(service.commit(repo, header(), *lines({"n": b"1", "n/x": b"1"})), 400)
    gone = {"key": "deletedFile", "value": {"path": "nothing"}}
    check_refused(service.commit(repo, header(), gone), 404, "EntryNotFound")


def test_commits_go_to_branches(service: Service, repo: str) -> None:
    service.api().create_tag(repo, tag="fixed")
    check_refused(service.commit(repo, header(), branch="fixed"), 404, "RevisionNotFound")
    check_refused(service.commit(repo, header(), branch="main?create_pr=1"), 400, "NotSupported")
    check_refused(service.call("DELETE", f"/api/models/{repo}/branch/main", user="alice"), 400)


def batch(service: Service, repo: str, data: bytes, **more: Any) -> Answer:
    """Ask for a link by which a content may be sent."""
    objects = [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}]
    body = {**UPLOAD, "objects": objects, **more}
    return service.call("POST", f"/{repo}.git/info/lfs/objects/batch", body, user="alice")


def link(service: Service, repo: str, data: bytes) -> str:
    """Return the link by which a content may be sent."""
    url: str = batch(service, repo, data).json()["objects"][0]["actions"]["upload"]["href"]
    return url.removeprefix(service.url)


def test_a_content_counts_with_its_own_digest_only(service: Service, repo: str) -> None:
    data = os.urandom(100_000)
    where = link(service, repo, data)
    for wrong in (b"x" * len(data), data[:-1], data + b"x", b""):
        check_refused(service.call("PUT", where, wrong), 400)
    line = {"key": "lfsFile", "value": {"path": "a", "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}
    check_refused(service.commit(repo, header(), line), 400)
    assert service.call("PUT", where, data).status == 200
    assert service.commit(repo, header(), line).status == 200
    assert "actions" not in batch(service, repo, data).json()["objects"][0]


def test_a_content_of_one_repository_is_not_for_another(service: Service, repo: str) -> None:
    data = os.urandom(100_000)
    assert service.call("PUT", link(service, repo, data), data).status == 200
    service.api("eve").create_repo("eve/copy", exist_ok=True)
    line = {"key": "lfsFile", "value": {"path": "a", "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}
    check_refused(service.commit("eve/copy", header(), line, user="eve"), 400)


def test_links_are_signed_and_short_lived(service: Service, repo: str) -> None:
    data = b"x" * 100_000
    where = link(service, repo, data)
    check_refused(service.call("PUT", where[:-1] + ("0" if where[-1] != "0" else "1"), data), 403, "Forbidden")
    check_refused(service.call("PUT", "/_upload/nonsense", data), 403, "Forbidden")
    check_refused(service.call("POST", where, {"parts": []}), 403, "Forbidden")
    permit = links.open_permit(where.rpartition("/")[2], service.registry.secret)
    old = links.sign(links.Permit(**{**vars(permit), "until": 1}), service.registry.secret)
    check_refused(service.call("PUT", f"/_upload/{old}", data), 403, "Forbidden")


def test_parts_are_put_together_as_they_were_sent(service: Service, repo: str) -> None:
    data = os.urandom(1_200_000)
    action = batch(service, repo, data, transfers=["basic", "multipart"]).json()["objects"][0]["actions"]["upload"]
    size = int(action["header"]["chunk_size"])
    urls = [url.removeprefix(service.url) for number, url in sorted(action["header"].items()) if number.isdigit()]
    done = action["href"].removeprefix(service.url)
    etags = []
    for number, url in enumerate(urls):
        answer = service.call("PUT", url, data[number * size : (number + 1) * size])
        etags.append(answer.headers["etag"])
    check_refused(service.call("PUT", done, b""), 403, "Forbidden")
    good = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]
    swapped = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags[::-1], 1)]
    twice, elsewhere = [*good, good[0]], [{"partNumber": 1, "etag": "../../x"}]
    wrong: tuple[Any, ...] = ([], good[:-1], swapped, [{}], elsewhere, twice, "x")
    for parts in wrong:
        check_refused(service.call("POST", done, {"parts": parts}), 400)
    assert service.call("POST", done, {"parts": good}).status == 200
    line = {"key": "lfsFile", "value": {"path": "a", "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}
    assert service.commit(repo, header(), line).status == 200
    assert service.call("GET", f"/{repo}/resolve/main/a").body == data


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"operation": "upload"},
        {"operation": "x", "objects": []},
        {"operation": "upload", "objects": []},
        {"operation": "upload", "objects": [{}]},
        {"operation": "upload", "objects": [{"oid": "../x", "size": 1}]},
        {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1e9}]},
        {"operation": "upload", "objects": [{"oid": "0" * 64, "size": -1}]},
        {"operation": "upload", "objects": [{"oid": "0" * 64, "size": True}]},
        {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1 << 80}]},
        {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}] * 1001},
        {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}], "hash_algo": "md5"},
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(service: Service, repo: str, body: dict[str, Any]) -> None:
    check_refused(service.call("POST", f"/{repo}.git/info/lfs/objects/batch", body, user="alice"), 400)


def test_what_is_too_large_is_refused(service: Service, repo: str) -> None:
    row = batch(service, repo, b"", objects=[{"oid": "0" * 64, "size": LIMITS.file_bytes + 1}]).json()["objects"][0]
    assert row["error"]["code"] == 413
    line = next(iter(lines({"a": b"x" * (LIMITS.regular_bytes + 1)})))
    check_refused(service.commit(repo, header(), line), 413, "TooLarge")
    many = [next(iter(lines({str(number): os.urandom(60_000)}))) for number in range(60)]
    check_refused(service.commit(repo, header(), *many), 413, "TooLarge")
    check_refused(
        service.call("POST", "/api/repos/create", b" " * (LIMITS.json_bytes + 1), user="alice"), 413, "TooLarge"
    )


def test_a_refused_client_is_heard_out(service: Service, repo: str) -> None:
    body = json.dumps(header()).encode() + b"\n" * (16 << 20)
    check_refused(service.call("POST", f"/api/models/{repo}/commit/main", body), 401, "Unauthorized")


def test_a_body_that_breaks_off_leaves_nothing(service: Service, repo: str) -> None:
    data = os.urandom(300_000)
    where = link(service, repo, data)
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        head = f"PUT {where} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data[:100_000])
    assert service.call("PUT", where, data).status == 200
    folder = service.registry.settings.root / "blobs" / "incoming"
    assert not [path for path in folder.iterdir() if path.is_file()]


def test_cards_cannot_blow_up(service: Service, repo: str) -> None:
    bomb = "---\na: &a [x, x]\nb: [*a, *a]\n---\n"
    deep = "---\na: " + "[" * 5000 + "\n---\n"
    for card in (
        bomb,
        deep,
        "---\n!!python/object/apply:os.system [x]\n---\n",
        "---\n- a\n---\n",
        "---\na: .nan\n---\n",
    ):
        answer = service.call("POST", "/api/validate-yaml", {"content": card, "repoType": "model"}, user="alice")
        assert answer.status == 400, card[:40]
        assert answer.headers["x-error-code"] == "BadRequest"
        # As a file it is plain storage: it says nothing about the repository.
        assert service.commit(repo, header(), *lines({"README.md": card.encode()})).status == 200
        assert service.api().model_info(repo).tags == []


@pytest.mark.parametrize("cursor", ["x", "AAAA", quote(base64.b64encode(b"[1]")), quote(base64.b64encode(b'["a", 1]'))])
def test_cursors_are_ours(service: Service, cursor: str) -> None:
    check_refused(service.call("GET", f"/api/models?cursor={cursor}"), 400)


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "sort=name", "search=%00", "limit=" + "9" * 50])
def test_a_list_is_asked_for_in_words_that_mean_something(service: Service, query: str) -> None:
    check_refused(service.call("GET", f"/api/models?{query}"), 400)


def test_ranges(service: Service, repo: str) -> None:
    data = os.urandom(3000)
    service.commit(repo, header(), *lines({"a": data, "empty": b""}))
    where = f"/{repo}/resolve/main/a"
    for text, expected in {
        "bytes=0-0": data[:1],
        "bytes=10-19": data[10:20],
        "bytes=2990-9999": data[2990:],
        "bytes=2990-": data[2990:],
        "bytes=-10": data[-10:],
        "bytes=-99999": data,
    }.items():
        answer = service.call("GET", where, headers={"Range": text})
        assert answer.body == expected
        assert answer.headers["content-length"] == str(len(expected))
        assert answer.status == (200 if expected == data else 206)
    for text in ("bytes=3000-", "bytes=9999-10000", "bytes=-0"):
        answer = service.call("GET", where, headers={"Range": text})
        check_refused(answer, 416, "RangeNotSatisfiable")
        assert answer.headers["content-range"] == "bytes */3000"
    for text in ("bytes=20-10", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=-"):
        assert service.call("GET", where, headers={"Range": text}).body == data
    etag = service.call("HEAD", where).headers["etag"]
    assert service.call("GET", where, headers={"Range": "bytes=0-0", "If-Range": '"other"'}).body == data
    assert service.call("GET", where, headers={"If-None-Match": etag}).status == 304
    assert service.call("GET", f"/{repo}/resolve/main/empty").body == b""


def test_no_browser_runs_a_file(service: Service, repo: str) -> None:
    service.commit(repo, header(), *lines({"a.html": b"<script>alert(1)</script>", "a.svg": b"<svg/>", "a.md": b"# a"}))
    for name, kind in (
        ("a.html", "application/octet-stream"),
        ("a.svg", "application/octet-stream"),
        ("a.md", "text/plain"),
    ):
        answer = service.call("GET", f"/{repo}/resolve/main/{name}")
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]


def test_unknown_addresses_and_methods(service: Service) -> None:
    check_refused(service.call("GET", "/api/nothing/here/at/all"), 404, "NoSuchRoute")
    check_refused(service.call("GET", "/api/agent-harnesses"), 404, "NoSuchRoute")
    check_refused(service.call("PATCH", "/api/models"), 405, "MethodNotAllowed")


PIECES = st.one_of(
    st.sampled_from(
        "api models datasets alice main tree resolve commit preupload refs tag branch paths-info revision commits "
        "settings _upload info lfs objects batch a.git raw auth-check treesize HEAD .. %2e%2e %00 %ff v1%2Fx".split()
    ),
    st.text(max_size=8).map(lambda text: quote(text.encode("utf-8", "replace"), safe="")),
)
FIELDS = st.sampled_from(
    "name organization type visibility private files path size tag startingPoint operation objects oid paths key "
    "value content parts transfers hash_algo summary parentCommit".split()
)
QUERIES = ["limit", "cursor", "sort", "expand", "blobs", "recursive"]
BODIES = st.one_of(
    st.binary(max_size=60),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"]),
    pieces=st.lists(PIECES, max_size=8),
    inside=st.booleans(),
    query=st.dictionaries(
        st.sampled_from(["limit", "cursor", "sort", "expand", "blobs", "recursive"]), st.text(max_size=6)
    ),
    body=BODIES,
)
def test_nothing_makes_it_stumble(
    service: Service, method: str, pieces: list[str], query: dict[str, str], body: bytes, *, inside: bool
) -> None:
    service.api().create_repo("alice/fuzzed", exist_ok=True)
    front = "/api/models/alice/fuzzed/" if inside else "/"
    asked = "&".join(f"{name}={quote(value.encode('utf-8', 'replace'))}" for name, value in query.items())
    answer = service.call(method, f"{front}{'/'.join(pieces)}?{asked}", body, user="alice")
    assert answer.status < 500
    if answer.status >= 400:
        assert answer.headers["x-error-code"]


def test_who_asks_too_often_waits(tmp_path: Path) -> None:
    with served(tmp_path, limits=Limits(requests_per_minute=10)) as service:
        answers = [service.call("GET", "/api/models") for _ in range(12)]
        assert [answer.status for answer in answers] == [200] * 10 + [429] * 2
        check_refused(answers[-1], 429, "TooManyRequests")
        assert 0 < int(answers[-1].headers["retry-after"]) <= 6
        # Another token is another caller.
        assert service.call("GET", "/api/models", user="alice").status == 200


def test_an_owner_keeps_no_more_than_the_quota(tmp_path: Path) -> None:
    with served(tmp_path, limits=Limits(owner_bytes=100_000, regular_bytes=64 << 10)) as service:
        service.api().create_repo("alice/full")
        first = os.urandom(60_000)
        assert service.commit("alice/full", header(), *lines({"a": first})).status == 200
        check_refused(service.commit("alice/full", header(), *lines({"b": os.urandom(60_000)})), 413, "TooLarge")
        assert service.commit("alice/full", header(), *lines({"copy": first})).status == 200
        check_refused(batch(service, "alice/full", os.urandom(70_000)), 413, "TooLarge")
        service.api("bob").create_repo("bob/empty")
        assert service.commit("bob/empty", header(), *lines({"b": os.urandom(60_000)}), user="bob").status == 200
