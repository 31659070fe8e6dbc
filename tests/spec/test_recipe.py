"""`modhub.toml`."""

from __future__ import annotations

import tomllib

import pytest

from modhub.errors import FormatError
from modhub.spec import recipe as recipes
from modhub.spec.lock import Request
from modhub.spec.recipe import FORMAT, READERS, Policy, Recipe
from modhub.spec.schema import load_schema, validate

FULL = """
format = "modhub/recipe@1"
name = "pets"
version = "2.0.0"
requirements = ["acme/pets/cat>=1.2", "class:dog[min-f1=0.8] @ work", "./my-module"]
registry = ["./modules", "work", "seed:"]
strategy = "parallel"
masks = "packed"
calibrate = "./images"
output = "build/pets"
prefer = "size"
prerelease = true
apart = false

[registries]
work = "/srv/modules"

[policy]
licenses = ["permissive", "CC-BY-4.0"]
licence-conflicts = "warn"
min-f1 = 0.8
max-size = "2MB"
onnxruntime = "1.31.1"
"""
SMALL = 'requirements = ["class:cat"]\n'


def test_everything_that_a_recipe_may_say_is_read() -> None:
    assert Recipe.from_toml(FULL) == Recipe(
        name="pets",
        version="2.0.0",
        requirements=("acme/pets/cat>=1.2", "class:dog[min-f1=0.8] @ work", "./my-module"),
        registry=("./modules", "work", "seed:"),
        registries={"work": "/srv/modules"},
        strategy="parallel",
        masks="packed",
        calibrate="./images",
        output="build/pets",
        prefer="size",
        prerelease=True,
        apart=False,
        policy=Policy(
            licenses=("permissive", "CC-BY-4.0"),
            licence_conflicts="warn",
            min_f1=0.8,
            max_size=2_000_000,
            onnxruntime="1.31.1",
        ),
    )


def test_requirements_are_enough() -> None:
    assert Recipe.from_toml(SMALL) == Recipe(requirements=("class:cat",))
    assert Recipe.from_toml(SMALL + 'registry = "./modules"').registry == ("./modules",)
    assert Recipe.from_toml(SMALL + "[policy]\nmax-size = 4096").policy.max_size == 4096


def test_what_it_asks_of_resolving_is_what_a_lock_says() -> None:
    assert Recipe.from_toml(SMALL).request() == Request()
    assert Recipe.from_toml(FULL).request() == Request(
        prefer="size",
        prerelease=True,
        apart=False,
        strategy="parallel",
        calibrating=True,
        licenses=("CC-BY-4.0", "permissive"),
        licence_conflicts="warn",
        min_f1=0.8,
        max_size=2_000_000,
        onnxruntime="1.31.1",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", 'requirements: is missing; expected a list such as ["acme/pets/cat", "class:dog"]'),
        ("requirements = []", "requirements: expected at least one, such as class:cat"),
        ('requirements = "class:cat"', "requirements: expected a list, got 'class:cat'"),
        ('requirements = ["class:Cat"]', "requirements[0]: 'class:Cat': expected a class like class:cat, got 'Cat'"),
        ('requirements = ["class:cat", "class:cat"]', "requirements: 'class:cat' occurs twice"),
        ('requirments = ["class:cat"]', "requirments: is no key of a recipe; did you mean requirements?"),
        (SMALL + "colour = 1", "colour: is no key of a recipe; expected some of format, requirements"),
        (SMALL + "[policy]\nmin-f2 = 1", "policy.min-f2: is no key of a recipe; did you mean min-f1?"),
        (SMALL + "[policy]\nmin-f1 = 80", "policy.min-f1: expected a number from 0 to 1, got 80"),
        (SMALL + '[policy]\nmax-size = "big"', "policy.max-size: expected a size like 500kB or 2MiB, got 'big'"),
        (SMALL + "[policy]\nmax-size = -1", "policy.max-size: expected a size like 500kB or 2MiB, got -1"),
        (
            SMALL + '[policy]\nlicenses = ["copyleft"]',
            (
                "policy.licenses[0]: expected an SPDX licence or one of permissive, attribution, weak-copyleft, "
                "strong-copyleft; got 'copyleft'"
            ),
        ),
        (SMALL + '[policy]\nonnxruntime = "new"', "policy.onnxruntime: expected a version like"),
        (SMALL + 'strategy = "best"', "strategy: expected one of auto, trunk, parallel, union; got 'best'"),
        (SMALL + 'name = "My Pets"', "name: the package name 'My Pets'"),
        (SMALL + 'version = "1"', "version: expected a version like 1.2.3"),
        (SMALL + 'format = "modhub/recipe@2"', "format: expected modhub/recipe@1, got 'modhub/recipe@2'"),
        (SMALL + "x = ", "not TOML"),
        (SMALL + "x = " + "[" * 40 + "]" * 40, "is nested deeper than 32 levels"),
    ],
)
def test_a_bad_recipe_names_the_path_and_what_was_expected(text: str, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        Recipe.from_toml(text)
    assert str(caught.value).startswith(problem)


def test_a_recipe_has_the_shape_of_its_schema() -> None:
    assert validate(tomllib.loads(FULL), "recipe") == []
    assert validate({"requirements": []}, "recipe") != []
    assert set(load_schema("recipe")["properties"]) == {"format", *READERS}


def test_the_text_on_top_names_every_key_and_is_a_recipe() -> None:
    assert recipes.__doc__ is not None
    assert not [key for key in (*READERS, *Policy.__dataclass_fields__) if key.replace("_", "-") not in recipes.__doc__]
    Recipe.from_toml(recipes.__doc__.partition("```toml\n")[2].partition("```")[0])
    assert FORMAT == "modhub/recipe@1"
