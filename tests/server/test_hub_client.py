"""The unmodified client of the Hugging Face Hub does all of its work here."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfFileSystem
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from modhub_registry.storage import history, repos

if TYPE_CHECKING:
    from tests.server.service import Service

# The client passes on bytes in a way that its own HTTP library has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")

CARD = """---
license: mit
library_name: modhub
pipeline_tag: image-classification
tags:
- modhub
- class:cat
---
# Pets
"""


def add(path: str, data: bytes) -> CommitOperationAdd:
    """Return a file to upload; an open one, because the client sends others above a size to another protocol."""
    return CommitOperationAdd(path, io.BytesIO(data))


def test_who_am_i(service: Service) -> None:
    found = service.api("alice").whoami()
    assert (found["name"], found["auth"]["accessToken"]["role"]) == ("alice", "write")


def test_a_repository_is_made_once(service: Service) -> None:
    api = service.api()
    url = api.create_repo("alice/once")
    assert url.repo_id == "alice/once"
    assert api.create_repo("alice/once", exist_ok=True).repo_id == "alice/once"
    with pytest.raises(HfHubHTTPError, match="already created") as error:
        api.create_repo("alice/once")
    assert error.value.response.status_code == 409


def test_a_name_alone_is_one_of_the_user(service: Service) -> None:
    assert service.api().create_repo("plain").repo_id == "alice/plain"


def test_small_and_large_files_come_back_as_they_were(service: Service, repo: str, tmp_path: Path) -> None:
    api = service.api()
    contents = {"README.md": CARD.encode(), "a/small.bin": os.urandom(1000), "large.bin": os.urandom(100_000)}
    contents["parts.bin"] = os.urandom(1_200_000)  # Above the size from which files travel in parts.
    contents["empty"] = b""
    operations = [add(path, data) for path, data in contents.items()]
    done = api.create_commit(repo, operations, commit_message="all")
    for path, data in contents.items():
        found = api.hf_hub_download(repo, path, cache_dir=tmp_path)
        assert done.oid in found
        assert Path(found).read_bytes() == data
    assert sorted(api.list_repo_files(repo)) == sorted(contents)


def test_a_snapshot_is_verified_by_the_client(service: Service, repo: str, tmp_path: Path) -> None:
    api = service.api()
    files = [add("a.bin", os.urandom(10)), add("b.bin", os.urandom(70_000))]
    api.create_commit(repo, files, commit_message="two")
    api.snapshot_download(repo, local_dir=tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").glob("*.bin")} == {"a.bin", "b.bin"}
    checked = api.verify_repo_checksums(repo, local_dir=tmp_path / "copy")
    assert checked.checked_count == 2
    assert not checked.mismatches


def test_a_folder_is_uploaded(service: Service, repo: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "README.md").write_text(CARD, "utf-8")
    (folder / "deep" / "x.bin").write_bytes(b"x" * 1000)
    service.api().upload_folder(repo_id=repo, folder_path=folder)
    assert sorted(service.api().list_repo_files(repo)) == ["README.md", "deep/x.bin"]


def test_a_commit_on_an_old_parent_is_refused(service: Service, repo: str) -> None:
    api = service.api()
    first = api.create_commit(repo, [add("a", b"1")], commit_message="first")
    api.create_commit(repo, [add("a", b"2")], commit_message="second", parent_commit=first.oid)
    with pytest.raises(HfHubHTTPError, match="read it again") as error:
        api.create_commit(repo, [add("a", b"3")], commit_message="third", parent_commit=first.oid)
    assert error.value.response.status_code == 412


def test_the_same_files_again_make_no_commit(service: Service, repo: str) -> None:
    api = service.api()
    large = os.urandom(70_000)
    files = [add("a", b"same"), add("b", large)]
    first = api.create_commit(repo, files, commit_message="first")
    again = [add("a", b"same"), add("b", large)]
    assert api.create_commit(repo, again, commit_message="again").oid == first.oid


def test_files_are_copied_and_deleted(service: Service, repo: str) -> None:
    api = service.api()
    api.create_commit(
        repo,
        [add("a/large.bin", os.urandom(70_000)), add("a/b/c", b"c")],
        commit_message="add",
    )
    copy = CommitOperationCopy("a/large.bin", "copy.bin")
    api.create_commit(repo, [copy, CommitOperationDelete("a/", is_folder=True)], commit_message="move")
    assert api.list_repo_files(repo) == ["copy.bin"]
    api.delete_file("copy.bin", repo)
    assert api.list_repo_files(repo) == []


def test_tags_and_branches(service: Service, repo: str) -> None:
    api = service.api()
    first = api.create_commit(repo, [add("a", b"1")], commit_message="first").oid
    api.create_tag(repo, tag="rel/1.0.0+cpu", revision=first)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag(repo, tag="rel/1.0.0+cpu")
    api.create_tag(repo, tag="rel/1.0.0+cpu", exist_ok=True)
    api.create_branch(repo, branch="next/big", revision="rel/1.0.0+cpu")
    second = api.create_commit(repo, [add("a", b"2")], commit_message="2", revision="next/big").oid
    found = api.list_repo_refs(repo)
    assert {ref.name: ref.target_commit for ref in found.branches} == {"main": first, "next/big": second}
    assert {ref.name: ref.target_commit for ref in found.tags} == {"rel/1.0.0+cpu": first}
    assert api.model_info(repo, revision="rel/1.0.0+cpu").sha == first
    assert api.model_info(repo, revision="next/big").sha == second
    api.delete_tag(repo, tag="rel/1.0.0+cpu")
    api.delete_branch(repo, branch="next/big")
    assert not api.revision_exists(repo, "rel/1.0.0+cpu")
    assert not api.revision_exists(repo, "next/big")
    assert api.revision_exists(repo, second)


def test_info_tells_sizes_digests_and_the_card(service: Service, repo: str) -> None:
    api = service.api()
    large = os.urandom(70_000)
    api.create_commit(repo, [add("README.md", CARD.encode()), add("l.bin", large)], commit_message="x")
    found = api.model_info(repo, files_metadata=True)
    assert found.card_data is not None
    assert found.card_data.license == "mit"
    assert set(found.tags or ()) == {"modhub", "class:cat", "license:mit", "image-classification"}
    assert (found.library_name, found.pipeline_tag) == ("modhub", "image-classification")
    files = {each.rfilename: each for each in found.siblings or ()}
    assert files["README.md"].size == len(CARD)
    assert files["README.md"].blob_id == hashlib.sha1(f"blob {len(CARD)}\0{CARD}".encode()).hexdigest()  # noqa: S324
    assert files["l.bin"].lfs is not None
    assert files["l.bin"].lfs.sha256 == hashlib.sha256(large).hexdigest()


def test_the_list_is_filtered_searched_sorted_and_paged(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    api = service.api("lister")
    for number in range(5):
        name = api.create_repo(f"lister/net-{number}").repo_id
        tags = f"---\ntags: [modhub, 'class:c{number % 2}']\n---\n"
        api.create_commit(name, [add("README.md", tags.encode())], commit_message="card")
    names = [f"lister/net-{number}" for number in range(5)]
    assert [each.id for each in api.list_models(author="lister")] == names[::-1]
    assert [each.id for each in api.list_models(author="lister", filter=["modhub", "class:c1"])] == [names[3], names[1]]
    assert [each.id for each in api.list_models(search="NET-3")] == [names[3]]
    assert [each.id for each in api.list_models(author="lister", search="class:c1")] == [names[3], names[1]]
    assert [each.id for each in api.list_models(author="lister", sort="created_at", limit=2)] == names[:2:-1]
    assert not list(api.list_models(author="lister", filter="nothing-has-it"))
    monkeypatch.setattr(repos, "PAGE", 2)
    assert [each.id for each in api.list_models(author="lister")] == names[::-1]
    full = next(iter(api.list_models(author="lister", full=True, cardData=True)))
    assert full.siblings is not None
    assert full.card_data is not None
    assert full.card_data.tags == ["modhub", "class:c0"]


def test_the_tree_is_listed_flat_deep_and_in_pages(
    service: Service, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = service.api()
    paths = ["a.txt", "b/c/d.txt", "b/c-e", "b/f", "b-g", "z/y/x/w"]
    api.create_commit(repo, [add(path, path.encode()) for path in paths], commit_message="tree")
    deep = [each.path for each in api.list_repo_tree(repo, recursive=True)]
    assert sorted(set(deep) & set(paths)) == sorted(paths)
    assert {each.path for each in api.list_repo_tree(repo)} == {"a.txt", "b", "b-g", "z"}
    assert {each.path for each in api.list_repo_tree(repo, "b/c")} == {"b/c/d.txt"}
    monkeypatch.setattr("modhub_registry.routes.look.ENTRIES_AT_ONCE", 2)
    assert [each.path for each in api.list_repo_tree(repo, recursive=True)] == deep
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree(repo, "nowhere"))


def test_paths_are_described(service: Service, repo: str) -> None:
    api = service.api()
    api.create_commit(repo, [add("ä b/c d.txt", b"x")], commit_message="odd names")
    found = api.get_paths_info(repo, ["ä b", "ä b/c d.txt", "nothing"])
    assert [each.path for each in found] == ["ä b", "ä b/c d.txt"]
    assert api.file_exists(repo, "ä b/c d.txt")
    assert not api.file_exists(repo, "nothing")


def test_commits_are_listed_newest_first(service: Service, repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api = service.api()
    for number in range(4):
        api.create_commit(repo, [add("a", str(number).encode())], commit_message=f"c{number}", commit_description="why")
    monkeypatch.setattr("modhub_registry.routes.look.COMMITS_AT_ONCE", 2)
    found = api.list_repo_commits(repo)
    assert [each.title for each in found] == ["c3", "c2", "c1", "c0", "initial commit"]
    assert (found[0].message, found[0].authors) == ("why", ["alice"])


def test_what_is_missing_is_told_apart(service: Service, repo: str) -> None:
    api = service.api()
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("alice/none")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="none")
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download(repo, "none")


def test_a_deleted_name_stays_reserved(service: Service, repo: str) -> None:
    api = service.api()
    api.delete_repo(repo)
    assert not api.repo_exists(repo)
    api.delete_repo(repo, missing_ok=True)
    with pytest.raises(HfHubHTTPError, match="stays reserved"):
        api.create_repo(repo)


def test_private_repositories_are_seen_by_their_owner(service: Service) -> None:
    api = service.api("carol")
    api.create_repo("carol/secret", private=True)
    api.create_commit("carol/secret", [add("a", b"1")], commit_message="x")
    assert api.model_info("carol/secret").private
    assert service.api("root", "admin").model_info("carol/secret").private
    for other in (service.api("dave"), service.api("")):
        assert not other.repo_exists("carol/secret")
        assert "carol/secret" not in {each.id for each in other.list_models(author="carol")}
        with pytest.raises((RepositoryNotFoundError, RemoteEntryNotFoundError)):
            other.hf_hub_download("carol/secret", "a")
    api.update_repo_settings("carol/secret", private=False)
    assert service.api("").repo_exists("carol/secret")


def test_a_card_that_cannot_be_read_is_refused(service: Service, repo: str) -> None:
    bad = add("README.md", b"---\ntags: [\n---\n")
    with pytest.raises((ValueError, BadRequestError), match="front matter"):
        service.api().create_commit(repo, [bad], commit_message="card")


def test_datasets_and_spaces_have_names_of_their_own(service: Service) -> None:
    api = service.api()
    for kind in ("dataset", "space"):
        api.create_repo("alice/shared", repo_type=kind, space_sdk="static" if kind == "space" else None)
        done = api.create_commit(
            "alice/shared",
            [add("a", kind.encode()), add("b", os.urandom(70_000))],
            commit_message="x",
            repo_type=kind,
        )
        found = api.hf_hub_download("alice/shared", "a", repo_type=kind)
        assert done.oid in found
        assert api.repo_info("alice/shared", repo_type=kind).sha == done.oid
    assert not api.repo_exists("alice/shared")


def test_the_file_system_lists_reads_and_writes(service: Service, repo: str) -> None:
    files = HfFileSystem(endpoint=service.url, token=service.token("alice"))
    with files.open(f"{repo}/folder/a.txt", "wb") as file:
        file.write(b"hello")
    assert files.ls(f"{repo}/folder", detail=False) == [f"{repo}/folder/a.txt"]
    assert files.cat(f"{repo}/folder/a.txt") == b"hello"
    with files.open(f"{repo}/folder/a.txt") as file:
        file.seek(1)
        assert file.read(3) == b"ell"
    files.rm(f"{repo}/folder/a.txt")
    assert files.ls(repo, detail=False) == []


def test_downloads_are_counted(service: Service, repo: str, tmp_path: Path) -> None:
    api = service.api()
    api.create_commit(repo, [add("a", b"1")], commit_message="x")
    api.hf_hub_download(repo, "a", cache_dir=tmp_path)
    service.registry.write_downloads()
    assert api.model_info(repo).downloads == 1


def test_head_means_main(service: Service, repo: str) -> None:
    assert service.api().model_info(repo, revision="HEAD").sha == service.api().model_info(repo).sha
    assert history.MAIN == "main"
