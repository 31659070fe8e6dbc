"""What a client of the Hub in Python does, against a registry of ours: client.py URL TOKEN REPO FOLDER."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

Operation = CommitOperationAdd | CommitOperationDelete | CommitOperationCopy

CARD = b"---\ntags: [modhub, 'class:cat']\nlicense: mit\n---\n# Pets\n"
LARGE = bytes(i * 31 % 251 for i in range(200_000))
PARTS = bytes(i * 37 % 251 for i in range(1_500_000))


def main() -> None:
    """Do it, and print what came of it as JSON."""
    url, token, name, folder = sys.argv[1:]
    api = HfApi(endpoint=url, token=token)
    done = {"version": huggingface_hub.__version__, **publish(api, name), **read(api, name, Path(folder))}
    api.delete_repo(name)
    check_gone(api, name)
    sys.stdout.write(json.dumps(done))


def publish(api: HfApi, name: str) -> dict[str, object]:
    """Make a repository, commit, lose a race, and name a version."""
    api.create_repo(name)
    api.create_repo(name, exist_ok=True)
    files = {"README.md": CARD, "a/small.txt": b"small", "large.bin": LARGE, "parts.bin": PARTS}
    operations = [CommitOperationAdd(path, io.BytesIO(data)) for path, data in files.items()]
    first = api.create_commit(name, operations, commit_message="first")
    more: list[Operation] = [CommitOperationAdd("more.txt", io.BytesIO(b"more")), CommitOperationDelete("a/small.txt")]
    second = api.create_commit(name, more, commit_message="second", parent_commit=first.oid)
    stale = 0
    try:
        late = [CommitOperationAdd("late.txt", io.BytesIO(b"late"))]
        api.create_commit(name, late, commit_message="late", parent_commit=first.oid)
    except HfHubHTTPError as error:
        stale = error.response.status_code
    api.create_tag(name, tag="rel/1.0.0+cpu", revision=second.oid)
    api.create_branch(name, branch="next")
    tags = {tag.name: tag.target_commit == second.oid for tag in api.list_repo_refs(name).tags}
    return {"user": api.whoami()["name"], "stale": stale, "tags": tags}


def read(api: HfApi, name: str, folder: Path) -> dict[str, object]:
    """Find the repository and fetch it in several ways."""
    copy = Path(api.snapshot_download(name, revision="rel/1.0.0+cpu", cache_dir=folder))
    files = HfFileSystem(endpoint=api.endpoint, token=api.token)
    return {
        "found": [
            each.id for each in api.list_models(filter=["modhub", "class:cat"], author=name.split("/", maxsplit=1)[0])
        ],
        "files": sorted(api.list_repo_files(name)),
        "tree": sorted(each.path for each in api.list_repo_tree(name, recursive=True)),
        "large": (copy / "large.bin").read_bytes() == LARGE,
        "parts": (copy / "parts.bin").read_bytes() == PARTS,
        "commits": [each.title for each in api.list_repo_commits(name)],
        "cat": files.cat(f"{name}/more.txt").decode(),
        "sizes": {each.rfilename: each.size for each in api.model_info(name, files_metadata=True).siblings or ()},
    }


def check_gone(api: HfApi, name: str) -> None:
    """Check that what is gone, or never was, is told apart."""
    try:
        api.model_info(name)
    except RepositoryNotFoundError:
        api.create_repo(f"{name}-2")
        try:
            api.model_info(f"{name}-2", revision="none")
        except RevisionNotFoundError:
            return
    sys.exit("what is missing was not told apart")


if __name__ == "__main__":
    main()
