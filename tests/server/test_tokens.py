"""What a token allows, for how long, and what the registry keeps of it."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from modhub.cli.main import run
from modhub_registry.storage.tables import audit, tokens
from tests.server.collections import lines
from tests.server.service import header, served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.service import Service


def asked(service: Service, text: str, path: str = "/api/whoami-v2") -> int:
    """Return the status of a request with a token."""
    return service.call("GET", path, headers={"Authorization": f"Bearer {text}"}).status


def test_a_read_token_changes_nothing(service: Service, repo: str) -> None:
    answer = service.call("POST", "/api/repos/create", {"name": "mine"}, user="reader", scope="read")
    assert (answer.status, answer.headers["x-error-code"]) == (403, "Forbidden")
    reader = service.token("alice", "read")
    headers = {"Authorization": f"Bearer {reader}"}
    for method, path in (
        ("POST", f"/api/models/{repo}/commit/main"),
        ("POST", f"/api/models/{repo}/preupload/main"),
        ("POST", f"/api/models/{repo}/tag/main"),
        ("POST", f"/api/models/{repo}/branch/x"),
        ("DELETE", f"/api/models/{repo}/tag/x"),
        ("DELETE", f"/api/models/{repo}/branch/x"),
        ("PUT", f"/api/models/{repo}/settings"),
        ("POST", f"/{repo}.git/info/lfs/objects/batch"),
        ("GET", f"/api/models/{repo}/auth-check/write"),
    ):
        body = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}], "tag": "x", "files": []}
        sent = None if method == "GET" else body
        assert service.call(method, path, sent, headers=headers).status == 403, path
        assert service.call(method, path, sent).status == 401, path
    body = {"name": repo.partition("/")[2], "organization": "alice"}
    assert service.call("DELETE", "/api/repos/delete", body, headers=headers).status == 403


def test_a_write_token_is_for_its_owners(service: Service, repo: str) -> None:
    assert service.commit(repo, header(), *lines({"a": b"1"}), user="mallory").status == 403
    both = service.token("mallory", "write", owners=["alice"])
    answer = service.call(
        "POST",
        f"/api/models/{repo}/commit/main",
        json.dumps(header()).encode(),
        headers={"Authorization": f"Bearer {both}"},
    )
    assert answer.status == 200
    assert service.commit(repo, header(), *lines({"a": b"1"}), user="mallory").status == 403


def test_a_token_that_is_none_is_refused_everywhere(service: Service, repo: str) -> None:
    for text in ("nonsense", "", "hf_modhub_" + "x" * 43, "\xff"):
        headers = {"Authorization": f"Bearer {text}"}
        answer = service.call("GET", f"/{repo}/resolve/main/a", headers=headers)
        assert answer.status == 401
        assert answer.headers["x-error-message"] == "Invalid credentials in Authorization header"
    assert service.call("GET", "/api/models", headers={"Authorization": "Basic YTpi"}).status == 401


def test_a_token_expires(service: Service) -> None:
    text = service.token("brief", "read", days=1)
    assert asked(service, text) == 200
    with service.registry.database.writing() as connection:
        connection.execute(update(tokens).where(tokens.c.user == "brief").values(expires_at=1))
    assert asked(service, text) == 401


def test_only_a_digest_is_kept(service: Service) -> None:
    text = service.token("kept", "read")
    with service.registry.database.reading() as connection:
        rows = [tuple(row) for row in connection.execute(select(tokens))]
        told = [tuple(row) for row in connection.execute(select(audit))]
    assert text not in str(rows) + str(told)
    root = service.registry.settings.root
    assert all(text.encode() not in path.read_bytes() for path in root.glob("registry.sqlite*"))


def test_a_private_registry_tells_nobody_anything(tmp_path: Path) -> None:
    with served(tmp_path, private=True) as service:
        service.api().create_repo("alice/inside")
        for path in ("/api/models", "/api/models/alice/inside", "/alice/inside/resolve/main/a", "/api/models/a/b"):
            answer = service.call("GET", path)
            assert (answer.status, answer.headers["x-error-code"]) == (401, "Unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert service.call("GET", "/api/models", user="bob", scope="read").status == 200
        assert service.call("GET", "/healthz").status == 200


class TestCommands:
    """`modhub registry token`."""

    def call(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
        """Run a command; return its code and what it printed."""
        code = run(["registry", "token", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    def made(self, capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> dict[str, Any]:
        """Make a token."""
        code, out, _ = self.call(capsys, "create", "--root", str(root), "--json", *words)
        assert code == 0
        found: dict[str, Any] = json.loads(out)
        return found

    def test_a_token_is_made_listed_and_revoked(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        made = self.made(capsys, tmp_path, "--user", "alice", "--scope", "write", "--owner", "acme", "--days", "3")
        with served(tmp_path) as service:
            assert asked(service, made["token"]) == 200
            code, out, _ = self.call(capsys, "ls", "--root", str(tmp_path), "--json")
            (row,) = json.loads(out)
            assert code == 0
            assert (row["user"], row["scope"], row["owners"], row["state"]) == (
                "alice",
                "write",
                ["alice", "acme"],
                "good",
            )
            assert made["token"] not in out
            assert self.call(capsys, "revoke", made["id"], "--root", str(tmp_path))[0] == 0
            assert asked(service, made["token"]) == 401
        assert self.call(capsys, "revoke", made["id"], "--root", str(tmp_path))[0] == 3
        assert "revoked" in self.call(capsys, "ls", "--root", str(tmp_path))[1]

    def test_without_json_a_token_stands_alone(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, err = self.call(capsys, "create", "--root", str(tmp_path), "--user", "alice")
        assert code == 0
        assert out.strip().startswith("hf_")
        assert "only now" in err

    @pytest.mark.parametrize("words", [("--user", "a b"), ("--user", "alice", "--owner", "..")])
    def test_names_are_checked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
    ) -> None:
        assert self.call(capsys, "create", "--root", str(tmp_path), *words)[0] == 1

    def test_where_there_is_no_registry_nothing_is_made(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for words in (("ls",), ("revoke", "x")):
            assert self.call(capsys, *words, "--root", str(tmp_path / "none"))[0] == 3
        assert not (tmp_path / "none").exists()

    def test_the_log_tells_who_got_what(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        made = self.made(capsys, tmp_path, "--user", "alice", "--scope", "admin")
        with sqlite3.connect(tmp_path / "registry.sqlite") as connection:
            rows = connection.execute("SELECT action, user, token FROM audit").fetchall()
        connection.close()
        assert rows == [("token.create", "alice", made["id"])]
