"""What the licences of parts mean for a composite."""

from __future__ import annotations

import dataclasses

import pytest

from modhub.composer.compose import compose
from modhub.composer.licences import check_licences, joined_licence, notice
from modhub.composer.part import Part
from modhub.errors import ComposeError
from modhub.package.package import Package
from tests.support.pets import COLLECTION, pets_packages


def parts(**licences: str) -> list[Part]:
    """Return modules of one parent, each under a licence."""
    base, *modules = pets_packages()
    found = []
    for module in modules:
        if module.name in licences:
            manifest = dataclasses.replace(module.manifest, license=licences[module.name])
            package = Package(manifest=manifest, files={**module.files, "module.json": manifest.to_json()})
            found.append(Part(reference=f"{COLLECTION}/{module.name}", package=package, base=base))
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [("GPL-2.0-only", "GPL-3.0-only"), ("CC-BY-SA-4.0", "ODbL-1.0"), ("CC-BY-NC-4.0", "AGPL-3.0-only")],
)
def test_licences_that_exclude_each_other_are_told_with_both_modules(one: str, other: str) -> None:
    expected = (
        f"acme/pets/cat 1.0.0, licensed {one}, and acme/pets/dog 1.0.0, licensed {other}, do not go together: "
        "each asks for the whole, in a way that excludes the other"
    )
    with pytest.raises(ComposeError) as caught:
        compose(parts(cat=one, dog=other))
    assert str(caught.value) == expected


def test_three_of_which_each_two_fit_may_still_have_no_licence_for_the_whole() -> None:
    licences = {
        "a": "ODbL-1.0 OR OSL-3.0",
        "b": "CDLA-Sharing-1.0 OR OSL-3.0",
        "c": "CDLA-Sharing-1.0 OR ODbL-1.0",
    }
    with pytest.raises(ComposeError, match="no licence can be found for the whole: "):
        check_licences(licences)


def test_a_policy_may_only_warn_and_then_the_notice_says_what_they_ask_for() -> None:
    composite = compose(parts(cat="GPL-2.0-only", dog="CC-BY-NC-ND-4.0"), licence_conflicts="warn")
    assert composite.package.manifest.license == "CC-BY-NC-ND-4.0 AND GPL-2.0-only"
    text = composite.package.read("NOTICE").decode()
    assert "- acme/pets/dog 1.0.0 is licensed CC-BY-NC-ND-4.0: commercial use is forbidden, of the whole too\n" in text
    assert "- acme/pets/cat 1.0.0 is licensed GPL-2.0-only: whoever shares the whole" in text


def test_the_notice_of_a_composite_goes_on_into_the_next() -> None:
    inner = compose(parts(cat="Apache-2.0", dog="MIT"), name="both")
    outer = compose([Part(reference="acme/pets/both", package=inner.package), *parts(bird="MIT")])
    text = outer.package.read("NOTICE").decode()
    assert "- acme/pets/both 1.0.0: Apache-2.0 AND MIT\n" in text
    assert "The notice of acme/pets/both 1.0.0:\n\n    This model was composed from these modules" in text
    assert "    - acme/pets/cat 1.0.0: Apache-2.0\n" in text


def test_the_licences_of_code_weights_and_data_count() -> None:
    (cat,) = parts(cat="MIT")
    manifest = dataclasses.replace(cat.package.manifest, licenses={"data": "CC-BY-4.0", "weights": "CC-BY-ND-4.0"})
    part = dataclasses.replace(cat, package=Package(manifest=manifest, files=cat.package.files))
    with pytest.raises(ComposeError, match=r"licensed CC-BY-4\.0 AND CC-BY-ND-4\.0 AND MIT, forbids derived"):
        compose([part])


def test_expressions_alone_will_do() -> None:
    assert joined_licence(["MIT", "Apache-2.0 OR MIT"]) == "(Apache-2.0 OR MIT) AND MIT"
    with pytest.raises(ComposeError, match=r"GPL-2\.0-only and the licence GPL-3\.0-only do not go together"):
        joined_licence(["GPL-2.0-only", "GPL-3.0-only"])
    assert notice({"cat": "MIT"}).endswith("- cat: MIT\n")
