"""Laws of the folders that commits are made of, against plain dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub_registry.errors import Malformed
from modhub_registry.settings import Settings
from modhub_registry.storage.registry import open_database
from modhub_registry.storage.trees import File, Folder, Trees, empty_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modhub_registry.storage.database import Database

PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)
CHANGES = st.dictionaries(PATHS, st.none() | st.integers(0, 3), max_size=6)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    found = open_database(Settings(root=tmp_path_factory.mktemp("trees")))
    yield found
    found.close()


def file(number: int) -> File:
    """Return a file like no other."""
    return File(sha256=f"{number:064x}", size=number, oid=f"{number:040x}", lfs=False)


def applied(files: Mapping[str, int], changes: Mapping[str, int | None]) -> dict[str, int] | None:
    """Return the files after changes, as a dictionary has it; None where a path would be file and folder."""
    left = dict(files)
    for path in [path for path, number in changes.items() if number is None]:
        left = {each: found for each, found in left.items() if each != path and not each.startswith(f"{path}/")}
    left |= {path: number for path, number in changes.items() if number is not None}
    clash = any(one != other and other.startswith(f"{one}/") for one in left for other in left)
    return None if clash else left


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(CHANGES, max_size=5), after=PATHS)
def test_trees_are_what_dictionaries_are(database: Database, steps: list[dict[str, int | None]], after: str) -> None:
    trees, expected, new = Trees(), dict[str, int](), dict[str, str]()
    # Nothing of it is kept, which spares the disk.
    with database.engine.connect().execution_options(writes=True) as connection:
        root = empty_tree(new)
        trees.store(connection, new)
        for changes in steps:
            then = applied(expected, changes)
            wanted = {path: None if number is None else file(number) for path, number in changes.items()}
            if then is None:
                with pytest.raises(Malformed):
                    trees.changed(connection, root, wanted, new=dict(new))
                continue
            expected, root = then, trees.changed(connection, root, wanted, new=new)
            trees.store(connection, new)
            found = list(trees.walk(connection, root))
            assert {each.path: each.entry for each in found if isinstance(each.entry, File)} == {
                path: file(number) for path, number in expected.items()
            }
            assert [each.path.split("/") for each in found] == sorted(each.path.split("/") for each in found)
            rest = [each.path for each in trees.walk(connection, root, after=after)]
            assert rest == [each.path for each in found if each.path.split("/") > after.split("/")]
            assert trees.changed(connection, root, {}, new=dict(new)) == root
            for path, number in expected.items():
                assert trees.find(connection, root, path) == file(number)
        fresh: dict[str, str] = {}
        at_once = trees.changed(
            connection, empty_tree(fresh), {path: file(number) for path, number in expected.items()}, new=fresh
        )
        assert at_once == root


def test_a_folder_that_did_not_change_is_shared(database: Database) -> None:
    trees, new = Trees(), dict[str, str]()
    with database.writing() as connection:
        first = trees.changed(connection, empty_tree(new), {"a/x": file(1), "b/y": file(2)}, new=new)
        trees.store(connection, new)
        second = trees.changed(connection, first, {"b/y": file(3)}, new=new)
        trees.store(connection, new)
        assert trees.find(connection, first, "a") == trees.find(connection, second, "a")
        assert trees.find(connection, first, "b") != trees.find(connection, second, "b")
        assert isinstance(trees.find(connection, second, "a"), Folder)
