"""`modhub.json`: the round trips and the append-only laws."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modhub.errors import FormatError, NotFound, VersionTaken
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.index import Index, Release
from tests import strategies
from tests.spec.test_manifest import CAT

if TYPE_CHECKING:
    from random import Random

LINK = sha256(b"the revision before")


def release(version: str = "1.0.0", *, name: str = "cat", content: bytes = b"") -> Release:
    """Return the entry of a cat."""
    manifest = dataclasses.replace(CAT, name=name, version=version)
    return Release.of(manifest, manifest.to_json() + content)


def listing(*releases: Release) -> Index:
    """Return an index whose first revision lists these."""
    return Index().adding(releases, previous=LINK)


pools = st.lists(
    st.builds(
        release, st.sampled_from(("1.0.0rc1", "1.0.0", "1.9.0", "1.10.0")), name=st.sampled_from(("base", "cat"))
    ),
    unique=True,
)


@given(strategies.indexes())
def test_an_index_survives_the_round_trip(index: Index) -> None:
    assert Index.from_dict(index.to_dict()) == index
    data = index.to_json()
    assert Index.from_json(data).to_json() == data


@given(pools, pools)
def test_adding_releases_gives_a_revision_that_follows(first: list[Release], more: list[Release]) -> None:
    index = listing(*first)
    following = index.adding(more, previous=LINK)
    following.check_follows(index)
    assert set(following.releases) == {*first, *more}
    assert following.revision == index.revision + bool({*more} - {*first})


@given(pools, pools)
def test_adding_the_same_again_changes_nothing(first: list[Release], more: list[Release]) -> None:
    following = listing(*first, *more)
    assert following.adding(first, previous=LINK) is following
    assert following.adding(more, previous=LINK) is following


@given(pools)
def test_the_order_of_adding_does_not_show(first: list[Release]) -> None:
    assert listing(*first) == listing(*reversed(first))


@given(pools, st.randoms(use_true_random=False))
def test_an_index_never_follows_one_that_listed_more(first: list[Release], random: Random) -> None:
    assume(first)
    index = listing(*first)
    gone = random.choice(first)
    left = tuple(entry for entry in index.releases if entry != gone)
    smaller = dataclasses.replace(index, releases=left, revision=2)
    with pytest.raises(FormatError, match="was published and is missing"):
        smaller.check_follows(index)


def test_a_release_holds_what_searching_and_resolving_need() -> None:
    entry = release()
    assert entry.manifest == FileRecord.of("module.json", data=CAT.to_json())
    assert entry.classes == ("cat",)
    assert (entry.semantic, entry.calibrated, entry.parent, entry.method) == ("logit", False, None, None)
    assert entry.files == CAT.files


def test_releases_are_found_by_name_in_the_order_of_versions() -> None:
    index = listing(release("1.10.0"), release("1.9.0"), release("1.9.0rc1"), release(name="base"))
    assert [entry.version for entry in index.find("cat")] == ["1.9.0rc1", "1.9.0", "1.10.0"]
    assert index.get("cat", "1.10.0") == release("1.10.0")
    assert index.get("cat", "2.0.0") is None
    assert index.find("dog") == ()


def test_a_version_with_other_content_is_taken() -> None:
    with pytest.raises(VersionTaken, match=r"cat 1\.0\.0 is already published with other content"):
        listing(release()).adding([release(content=b" ")], previous=LINK)


def test_yanking_and_deprecating_are_the_only_changes() -> None:
    index = listing(release())
    yanked = index.yanking("cat", "1.0.0", reason="scores dogs", previous=LINK)
    both = yanked.deprecating("cat", "1.0.0", reason="use 2.0.0", previous=LINK)
    both.check_follows(index)
    (entry,) = both.releases
    assert (entry.yanked, entry.deprecated, both.revision) == ("scores dogs", "use 2.0.0", 3)
    assert yanked.yanking("cat", "1.0.0", reason=None, previous=LINK).releases == index.releases
    assert yanked.yanking("cat", "1.0.0", reason="scores dogs", previous=LINK) is yanked
    with pytest.raises(NotFound, match=r"there is no release cat 3\.0\.0"):
        index.yanking("cat", "3.0.0", reason="", previous=LINK)


def test_a_changed_release_is_found() -> None:
    index = listing(release())
    other = dataclasses.replace(release(), license="MIT")
    changed = dataclasses.replace(index, releases=(other,), revision=2)
    with pytest.raises(FormatError, match=r"releases: cat 1\.0\.0 was published and is changed"):
        changed.check_follows(index)


def test_a_revision_never_goes_back_and_never_has_two_contents() -> None:
    index = listing(release())
    later = index.adding([release("2.0.0")], previous=LINK)
    index.check_follows(index)
    for wrong in (index, dataclasses.replace(later, summary="other")):
        with pytest.raises(FormatError, match="revision: expected a revision after 2"):
            wrong.check_follows(later)


def test_an_index_out_of_order_is_refused() -> None:
    with pytest.raises(FormatError, match=r"releases\[1\]: expected releases sorted by name and version"):
        Index(releases=(release("1.10.0"), release("1.9.0")))
    with pytest.raises(FormatError, match="each once"):
        Index(releases=(release(), release()))


def test_revisions_form_a_chain() -> None:
    with pytest.raises(FormatError, match="previous: expected a digest from revision 1 on"):
        Index(revision=1)
    with pytest.raises(FormatError, match="previous: expected a digest from revision 1 on"):
        Index(previous=LINK)


def test_a_fault_in_a_release_is_found_by_its_path() -> None:
    document = listing(release()).to_json().replace(b'"size": ', b'"size": -', 1)
    with pytest.raises(FormatError, match=r"releases\[0\]\.forms\.delta\[0\]\.size: expected a non-negative integer"):
        Index.from_json(document)
