"""Owners that look alike are told of, twins are refused, and names that mean something to a machine are not given."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING

import pytest

from modhub import flow
from modhub.cli.commands.publish import warn_of_lookalikes
from modhub.errors import InvalidName
from modhub.spec.lookalikes import PICTURES, SHORT, is_near
from modhub.spec.names import CollectionId
from tests.support.pets import pets_packages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNERS = (
    "modhub",
    "acme",
    "google",
    "openmodels",
    "pytorch",
    "vision-lab",
    "neural-parts",
    "huggingface",
    "stanford",
    "kaggle",
    "nvidia",
)
RESERVED = ("con", "nul", "aux", "prn", "com1", "lpt9")


def slips(name: str, dice: random.Random) -> Iterator[str]:
    """Yield names one slip of a finger away: a character left out, put in, changed, doubled, or swapped."""
    for place in [*range(1, len(name))] * 2:
        letter = dice.choice(string.ascii_lowercase)
        yield name[:place] + name[place + 1 :]
        yield name[:place] + letter + name[place:]
        yield name[:place] + letter + name[place + 1 :]
        yield name[:place] + name[place - 1] + name[place:]
        yield name[: place - 1] + name[place] + name[place - 1] + name[place + 1 :]


def pictures(name: str) -> Iterator[str]:
    """Yield names that look like one: digits for letters, two letters for one, other case, other separators."""
    for written, seen in PICTURES:
        if seen in name:
            yield name.replace(seen, written)
        if written in name:
            yield name.replace(written, seen)
    yield name.upper()
    yield name.replace("-", "_")
    yield name[:3] + "-" + name[3:]


def near_names() -> list[tuple[str, str]]:
    """Return pairs of an owner and a neighbour that is a valid name."""
    dice = random.Random(9)  # noqa: S311  No secret.
    pairs = {(name, near) for name in OWNERS for near in (*slips(name, dice), *pictures(name)) if near != name}
    return sorted(pair for pair in pairs if is_name(pair[1]) and len(pair[1]) >= SHORT)


def is_name(text: str) -> bool:
    try:
        CollectionId(text, "pets")
    except InvalidName:
        return False
    return True


def test_every_neighbour_of_an_owner_is_told_of() -> None:
    pairs = near_names()
    assert len(pairs) >= 500
    assert [pair for pair in pairs if not is_near(*pair)] == []


def test_names_of_different_owners_are_left_alone() -> None:
    assert [(one, two) for one in OWNERS for two in OWNERS if one < two and is_near(one, two)] == []


@pytest.mark.parametrize(
    "owner",
    [
        "\u0430cme",
        "acm\u00e9",
        "ac\u200bme",
        "acme\u202e",
        "\uff41cme",
        "acme\n",
        "",
        "-acme",
        "a" * 200,
        "ac/me",
        ".acme",
    ],
)
def test_letters_of_other_alphabets_and_invisible_ones_are_in_no_name(owner: str) -> None:
    assert not is_name(owner)


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_mean_something_to_a_machine_are_not_given(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidName):
        flow.publish(pets_packages(), to=str(tmp_path / "r"), collection=f"acme/{name}", store=tmp_path / "s")


@pytest.mark.parametrize("twin", ["Acme/pets", "acme/Pets"])
def test_a_twin_of_a_collection_is_refused(twin: str, tmp_path: Path) -> None:
    packages = pets_packages()
    flow.publish(packages, to=str(tmp_path / "r"), collection="acme/pets", store=tmp_path / "s")
    with pytest.raises(InvalidName, match="mistaken"):
        flow.publish(packages, to=str(tmp_path / "r"), collection=twin, store=tmp_path / "s")


@pytest.mark.parametrize("owner", ["m0dhub", "rnodhub", "modhud"])
def test_owners_like_the_one_of_the_seed_are_told_of_in_every_registry(
    owner: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for registry in (str(tmp_path / "new"), "hf://" + owner):
        warn_of_lookalikes(f"{owner}/pets", registry, store=tmp_path / "store")
        assert f"{owner} is easily mistaken for modhub" in capsys.readouterr().err
