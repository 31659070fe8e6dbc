"""Names: what is accepted, what is refused, and how labels become names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modhub.errors import InvalidName
from modhub.spec.names import CollectionId, PackageId, check_array_name, check_file_name, check_package_name, slug
from tests import strategies


@given(strategies.packages)
def test_parsing_a_package_name_undoes_writing_it(package: PackageId) -> None:
    assert PackageId.parse(str(package)) == package
    assert CollectionId.parse(str(package.collection)) == package.collection
    assert package.collection.package(package.name) == package


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "a..b",
        "a--b",
        ".a",
        "a.",
        "-a",
        "a b",
        "a\n",
        "a\u0131",
        "x.git",
        "CON",
        "nul.txt",
        "a" * 97,
        "..",
        "é",
    ],
)
def test_a_name_that_some_hub_or_file_system_dislikes_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        CollectionId(name, "pets")
    with pytest.raises(InvalidName):
        CollectionId("acme", name)


@pytest.mark.parametrize(
    "name", ["", "Cat", "a--b", "a._b", "a/b", "../a", "con", "lpt1.x", "modhub.json", "readme.md", "a\n", "a" * 97]
)
def test_a_package_name_is_lower_case_and_no_reserved_word(name: str) -> None:
    with pytest.raises(InvalidName):
        check_package_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", ".hidden", "a.", "a..b", "aux", "NUL.onnx", "C:x", "a\n", "ü"]
)
def test_a_file_name_never_leaves_its_folder(name: str) -> None:
    with pytest.raises(InvalidName):
        check_file_name(name)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a" * 201, "a;b", "'"])
def test_an_array_name_holds_nothing_that_code_could_be_made_of(name: str) -> None:
    with pytest.raises(InvalidName):
        check_array_name(name)


@pytest.mark.parametrize("text", ["cat", "a/b", "a/b/c/d", "/a/b", "a//c"])
def test_a_package_has_exactly_three_parts(text: str) -> None:
    with pytest.raises(InvalidName):
        PackageId.parse(text)


def test_collections_that_would_be_confused_share_a_key() -> None:
    assert CollectionId("Acme", "My_Pets.v1").key == CollectionId("acme", "my-pets-v1").key == "acme/my-pets-v1"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("cat", "cat"),
        ("T-shirt/top", "t-shirt-top"),
        ("Ankle boot", "ankle-boot"),
        ("dial_telephone", "dial-telephone"),
        ("Crème brûlée!", "creme-brulee"),
        ("Straße 7", "strasse-7"),
        ("con", "con-class"),
        ("a" * 200, "a" * 96),
    ],
)
def test_a_class_label_becomes_a_package_name(label: str, name: str) -> None:
    assert slug(label) == name


@given(st.text(max_size=120))
def test_every_slug_is_a_package_name_and_its_own_slug(label: str) -> None:
    try:
        name = slug(label)
    except InvalidName:
        return
    check_package_name(name)
    assert slug(name) == name


def test_a_label_without_letters_has_no_slug() -> None:
    with pytest.raises(InvalidName, match="no letter or digit"):
        slug("!? ")
