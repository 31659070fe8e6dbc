"""Requirements as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given

from modhub.errors import InvalidRequirement
from modhub.spec.names import PackageId
from modhub.spec.requirements import (
    ClassRequirement,
    PackageRequirement,
    PathRequirement,
    Requirement,
    parse_requirement,
    parse_size,
)
from modhub.spec.versions import parse_specifier
from tests import strategies

CAT = PackageId.parse("acme/pets/cat")
DIGEST = "0" * 64


@given(strategies.requirements)
def test_parsing_undoes_writing(requirement: Requirement) -> None:
    assert parse_requirement(str(requirement)) == requirement


@pytest.mark.parametrize(
    ("text", "requirement"),
    [
        ("acme/pets/cat", PackageRequirement(package=CAT)),
        (" acme/pets/cat >=1.2, <2 ", PackageRequirement(package=CAT, specifier=parse_specifier(">=1.2,<2"))),
        ("acme/pets/cat^1.2", PackageRequirement(package=CAT, specifier=parse_specifier(">=1.2,<2"))),
        ("acme/pets/cat==1.0.0", PackageRequirement(package=CAT, specifier=parse_specifier("==1.0.0"))),
        ("acme/pets/cat[delta]", PackageRequirement(package=CAT, variant="delta")),
        (f"acme/pets/cat@sha256:{DIGEST}", PackageRequirement(package=CAT, sha256=DIGEST)),
        ("class:cat", ClassRequirement(class_name="cat")),
        ("class:cat[]", ClassRequirement(class_name="cat")),
        (
            "class:cat[ license=MIT, method = moda]",
            ClassRequirement(class_name="cat", options={"method": "moda", "license": "MIT"}),
        ),
        ("./cat", PathRequirement(path="./cat")),
        ("/data/pets@home>1", PathRequirement(path="/data/pets@home>1")),
        ("path:cat", PathRequirement(path="cat")),
    ],
)
def test_a_text_is_read(text: str, requirement: Requirement) -> None:
    assert parse_requirement(text) == requirement


def test_options_are_compared() -> None:
    one, other = parse_requirement("class:cat[method=moda]"), parse_requirement("class:cat[method=cnnsplitter]")
    assert one != other
    assert parse_requirement("class:cat[min-f1=0.9,method=moda]") == parse_requirement(
        "class:cat[method=moda,min-f1=0.9]"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected owner/collection/name, class:NAME or a path starting with ./"),
        ("cat", "'cat': expected owner/collection/name, got 'cat'"),
        ("acme/pets/Cat", "the package name 'Cat' is not lower-case"),
        ("acme/../cat", "the collection name '..' is not"),
        ("acme//cat", "the collection name '' is not"),
        ("acme/pets/cat=1", "expected a specifier like >=1.2,<2 or ==1.2.3 or ^1.2, got '=1'"),
        ("acme/pets/cat[IN T8]", "expected a variant like [delta], got 'IN T8'"),
        ("acme/pets/cat@sha256:0123", "expected 64 hexadecimal digits after @sha256:, got '0123'"),
        ("acme/pets/cat@v1", "expected owner/collection/name, class:NAME or a path"),
        ("acme/pets/cat dog", "expected owner/collection/name, class:NAME or a path"),
        ("class:Ankle boot", "expected a class like class:ankle-boot, got 'Ankle boot'"),
        ("class:!", "has no letter or digit"),
        ("class:cat[colour=red]", "expected one of collection, license, max-size, method, min-f1, variant and a value"),
        ("class:cat[method]", "expected one of collection, license"),
        ("class:cat[method=a,method=b]", "the option method occurs twice"),
        ("class:cat[method=a b]", "expected one word, got 'a b'"),
        ("class:cat[min-f1=1.5]", "expected a number from 0 to 1, got '1.5'"),
        ("class:cat[min-f1=nan]", "expected a number from 0 to 1, got 'nan'"),
        ("class:cat[max-size=big]", "expected a size like 500kB or 2MiB, got 'big'"),
        ("class:cat[license=mit]", "expected 'MIT', got 'mit'"),
        ("class:cat[license=copyleft]", "expected an SPDX expression like MIT or LicenseRef-Name, got 'copyleft'"),
        ("class:cat[variant=DELTA]", "expected a variant like delta, got 'DELTA'"),
        ("class:cat @ one @ two", "expected one registry after @, got 'one @ two'"),
        ("class:cat[method=a", "expected class:NAME or class:NAME[option=value,...]"),
        ("path:", "expected a path after path:"),
        ("x" * 2001, "expected at most 2000 characters, got 2001"),
    ],
)
def test_a_text_that_cannot_be_read_says_what_was_expected(text: str, problem: str) -> None:
    with pytest.raises(InvalidRequirement) as caught:
        parse_requirement(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("4096 B", 4096), ("500kB", 500_000), ("1.5MB", 1_500_000), ("2MiB", 2 << 20)],
)
def test_sizes_have_decimal_and_binary_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e9", "1.5.2", "5 TB", "1iB", "\uff11"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequirement):
        parse_size(text)
