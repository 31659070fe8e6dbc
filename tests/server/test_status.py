"""How the server is doing, and how it starts and stops."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from modhub.cli.main import run
from modhub_registry.settings import Settings
from modhub_registry.storage.registry import open_database
from modhub_registry.storage.tables import metadata
from tests.server.collections import lines
from tests.server.process import process
from tests.server.service import header, served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.service import Service


def test_it_is_well(service: Service) -> None:
    assert service.call("GET", "/healthz").json() == {"status": "ok"}


def test_it_says_what_it_is(service: Service) -> None:
    found = service.call("GET", "/api/modhub").json()
    assert (found["name"], found["checks"]) == ("modhub registry", "full")
    assert found["limits"]["regular_bytes"] == 64 << 10


def test_requests_are_counted_by_route(service: Service, repo: str) -> None:
    for path in (f"/api/models/{repo}", "/api/models/none/none", "/nowhere"):
        service.call("GET", path)
    text = service.call("GET", "/metrics").body.decode()
    assert 'modhub_requests_total{method="GET",route="/api/{kind:kind}/{owner}/{name}",status="200"}' in text
    assert 'status="404"' in text
    assert 'route="none"' in text
    assert "modhub_request_seconds_bucket" in text
    assert "modhub_repositories" in text
    assert repo not in text


def test_it_starts_says_where_and_stops(tmp_path: Path) -> None:
    with process(tmp_path / "new") as server:
        assert server.service.url.startswith("http://127.0.0.1:")
        assert server.service.call("GET", "/healthz").status == 200
    assert server.running.returncode == 0


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code = run(["serve", str(tmp_path), "--port", str(taken.getsockname()[1])])
    assert code == 2
    assert "cannot listen on 127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--database", "nonsense", "has no address"),
        ("--database", "mysql://x/y", "expected sqlite or postgresql"),
        ("--store", "ftp://x", "expected an address such as s3://"),
        ("--store", "s3://bucket?password=x", "has 'password'"),
    ],
)
def test_an_address_that_is_none_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, problem: str
) -> None:
    assert run(["serve", str(tmp_path), "--port", "0", option, value]) == 2
    assert problem in capsys.readouterr().err


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        open_database(Settings(root=tmp_path)).close()


def test_the_steps_lead_to_the_tables_that_are_used(tmp_path: Path) -> None:
    database = open_database(Settings(root=tmp_path))
    with database.reading() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    database.close()
    assert found == []


def test_help_needs_nothing_of_the_server() -> None:
    program = "import sys; from modhub.cli.main import run; run(sys.argv[1:]); print(*sys.modules)"
    for words in (["serve", "--help"], ["registry", "token", "create", "--help"]):
        done = subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True, text=True)
        loaded = set(done.stdout.split())
        assert not {"starlette", "uvicorn", "sqlalchemy", "alembic", "modhub_registry"} & loaded


def test_the_log_is_for_admins(service: Service, repo: str) -> None:
    assert service.call("GET", "/api/modhub/audit").status == 401
    assert service.call("GET", "/api/modhub/audit", user="alice").status == 403
    newest = service.call("GET", "/api/modhub/audit?limit=2", user="root", scope="admin").json()
    assert [row["action"] for row in newest] == ["token.create", "repo.create"]
    older = service.call("GET", f"/api/modhub/audit?before={newest[0]['id']}", user="root", scope="admin").json()
    assert (older[0]["subject"], older[0]["user"]) == (repo, "alice")


def test_a_disk_that_refuses_is_no_bug(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        service.api().create_repo("alice/full")
        shutil.rmtree(tmp_path / "blobs")
        answer = service.commit("alice/full", header(), *lines({"a": b"1"}))
        assert (answer.status, answer.headers["x-error-code"]) == (503, "StorageError")
        assert answer.headers["retry-after"]
