"""Several servers on one database and one store are one registry; the same on PostgreSQL and S3."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import CommitOperationAdd
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from modhub_registry.storage.tables import audit
from tests.server.backing import postgresql, s3
from tests.server.collections import lines, publication
from tests.server.process import SECRETS, process
from tests.server.service import Answer, header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.service import Service

pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")


@pytest.fixture(scope="module", params=["sqlite-folder", "postgresql-s3"])
def workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    """Two servers of one registry."""
    root = tmp_path_factory.mktemp("registry")
    if request.param == "sqlite-folder":
        with process(root) as first, process(root) as second:
            yield [first.service, second.service]
        return
    with pytest.MonkeyPatch.context() as patch, postgresql() as database, s3() as store:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        options = ("--database", database, "--store", store)
        # Each has a folder of its own: they share nothing but the two addresses.
        with process(root / "1", *options) as first, process(root / "2", *options) as second:
            yield [first.service, second.service]


def test_what_one_takes_the_other_gives(workers: list[Service]) -> None:
    first, second = workers
    token = first.token("alice")
    second.tokens["alice", "write"] = token
    contents = {"small": b"small", "empty": b"", "large": os.urandom(17 << 20)}
    first.api().create_repo("alice/shared")
    operations = [CommitOperationAdd(path, io.BytesIO(data)) for path, data in contents.items()]
    done = first.api().create_commit("alice/shared", operations, commit_message="all")
    assert second.api().model_info("alice/shared").sha == done.oid
    for path, data in contents.items():
        assert second.call("GET", f"/alice/shared/resolve/main/{path}").body == data
    part = second.call("GET", "/alice/shared/resolve/main/large", headers={"Range": "bytes=1000000-3000000"})
    assert (part.status, part.body) == (206, contents["large"][1_000_000:3_000_001])


def test_of_all_who_commit_on_one_parent_one_wins(workers: list[Service]) -> None:
    first, second = workers
    second.tokens["alice", "write"] = first.token("alice")
    first.api().create_repo("alice/race")
    for turn in range(3):
        parent = first.api().model_info("alice/race").sha
        assert parent is not None

        def attempt(number: int, turn: int = turn, parent: str = parent) -> int:
            line = next(iter(lines({f"{turn}-{number}": b"x"})))
            return workers[number % 2].commit("alice/race", header(parentCommit=parent), line).status

        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(attempt, range(8)))
        assert sorted(statuses) == [200] + 7 * [412]
    assert len(second.api().list_repo_files("alice/race")) == 3


def test_who_names_no_parent_never_loses(workers: list[Service]) -> None:
    first, second = workers
    second.tokens["alice", "write"] = first.token("alice")
    first.api().create_repo("alice/crowd")

    def attempt(number: int) -> int:
        return workers[number % 2].commit("alice/crowd", header(), *lines({str(number): b"x"})).status

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(attempt, range(16))) == {200}
    assert len(first.api().list_repo_files("alice/crowd")) == 16


def test_of_all_who_make_one_name_one_wins(workers: list[Service]) -> None:
    first, second = workers
    second.tokens["alice", "write"] = first.token("alice")

    def attempt(number: int) -> Answer:
        body = {"name": "Wanted" if number % 4 < 2 else "wanted", "organization": "alice"}
        return workers[number % 2].call("POST", "/api/repos/create", body, user="alice")

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(answer.status for answer in threads.map(attempt, range(8)))
    assert statuses == [200] + 7 * [409]


def test_collections_are_checked_by_every_worker(workers: list[Service]) -> None:
    first, second = workers
    second.tokens["alice", "write"] = first.token("alice")
    first.api().create_repo("alice/pets")
    assert first.commit("alice/pets", header(), *lines(publication("base", "cat"))).status == 200
    refused = second.commit("alice/pets", header(), *lines({"cat/1.0.0/README.md": b"changed"}))
    assert (refused.status, refused.headers["x-error-code"]) == (400, "InvalidCollection")


def test_lists_and_searches_agree(workers: list[Service]) -> None:
    first, second = workers
    first.api("bob").create_repo("bob/Some-Net")
    for service in workers:
        service.tokens["bob", "write"] = first.token("bob")
        assert [each.id for each in service.api("bob").list_models(search="some-n")] == ["bob/Some-Net"]
        assert [each.id for each in service.api("bob").list_models(author="bob", sort="downloads")] == ["bob/Some-Net"]
    assert second.call("GET", "/api/models?search=100%25_").json() == []


def test_the_log_only_grows(workers: list[Service]) -> None:
    database = workers[0].registry.database
    workers[0].api("logger").create_repo("logger/told")
    with database.reading() as connection:
        told = connection.execute(select(audit).where(audit.c.subject == "logger/told")).one()
    assert (told.user, told.action) == ("logger", "repo.create")
    for statement in (update(audit).values(user="nobody"), delete(audit)):
        with pytest.raises(DBAPIError, match="only grows"), database.writing() as connection:
            connection.execute(statement)
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM audit")).scalar_one() > 0
