"""`modhub.toml`: what a project is composed of, and how; text that a person writes.

```toml
name = "pets"                                   # of the composite; also version, strategy, masks, output
requirements = ["acme/pets/cat>=1.2", "class:dog @ work", "./my-module"]
registry = ["./modules", "seed:"]               # where to look, in this order; without it, the seed
calibrate = "./images"                          # data to calibrate the scores on
reject = "auto"                                 # or a probability: below it, the answer is "none of these"
prefer = "accuracy"                             # also prerelease, apart

[registries]                                    # names that stand for addresses
work = "/srv/modules"

[policy]                                        # what will not do
licenses = ["permissive", "CC-BY-4.0"]
licence-conflicts = "refuse"
min-f1 = 0.8
max-size = "2MB"
onnxruntime = "1.31.1"
```

A key that is not known is refused: a person mistyped it. Paths are those seen from the file's folder.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modhub.errors import FormatError, InvalidRequirement
from modhub.spec import limits
from modhub.spec.document import (
    JSON,
    Fields,
    check_format,
    check_size,
    check_tree,
    flag,
    inside,
    list_of,
    number,
    one_of,
    shown,
    table_of,
    text,
)
from modhub.spec.licences import LEVELS
from modhub.spec.lock import Request, parse_toml
from modhub.spec.manifest import check_license
from modhub.spec.names import check_package_name
from modhub.spec.requirements import parse_requirement, parse_size
from modhub.spec.versions import parse_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Self

RECIPE_FILE = "modhub.toml"
FORMAT = "modhub/recipe@1"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Releases that will not do; see `modhub.resolver.options.Policy`.

    Raises:
        FormatError: a field is invalid; `where` is its path.
    """

    licenses: tuple[str, ...] | None = None
    licence_conflicts: str | None = None
    min_f1: float | None = None
    max_size: int | None = None
    onnxruntime: str | None = None

    def __post_init__(self) -> None:
        """Check licences and ranges."""
        for position, licence in enumerate(self.licenses or ()):
            check_allowed(licence, where=f"licenses[{position}]")
        if self.min_f1 is not None and not 0 <= self.min_f1 <= 1:
            raise FormatError(f"expected a number from 0 to 1, got {self.min_f1:g}", where="min-f1")
        if self.onnxruntime is not None:
            with inside("onnxruntime"):
                parse_version(self.onnxruntime)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the policy that a table holds.

        Raises:
            FormatError: a key is unknown or has a bad value; `where` is its path.
        """
        fields = Fields(document)
        policy = cls(
            licenses=fields.optional("licenses", list_of(text)),
            licence_conflicts=fields.optional("licence-conflicts", one_of("refuse", "warn")),
            min_f1=fields.optional("min-f1", number),
            max_size=fields.optional("max-size", _size),
            onnxruntime=fields.optional("onnxruntime", text),
        )
        _check_known(fields.rest(), known=("licenses", "licence-conflicts", "min-f1", "max-size", "onnxruntime"))
        return policy


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a project is composed of, and how. What is None or empty was left open.

    Args:
        requirements: packages, classes and paths, in the order of the scores.
        registry: where to look, in this order: addresses, folders and names.
        registries: addresses by name.
        name: of the composite, a package name.
        version: of the composite.
        strategy: how the modules are joined.
        masks: how masks of single weights are stored.
        calibrate: the data to calibrate the scores on, as the command line names data.
        reject: ``auto``, or the probability below which the answer is "none of these".
        output: the folder to write the composite to.
        prefer: which provider of a class wins.
        prerelease: whether pre-releases will do.
        apart: whether the modules need not fit into one model.
        policy: what will not do.

    Raises:
        FormatError: a field is invalid; `where` is its path.
    """

    requirements: tuple[str, ...]
    registry: tuple[str, ...] = ()
    registries: Mapping[str, str] = field(default_factory=dict, hash=False)
    name: str | None = None
    version: str | None = None
    strategy: str | None = None
    masks: str | None = None
    calibrate: str | None = None
    reject: str | float | None = None
    output: str | None = None
    prefer: str | None = None
    prerelease: bool | None = None
    apart: bool | None = None
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        """Check requirements and names."""
        if not self.requirements:
            raise FormatError("expected at least one, such as class:cat", where="requirements")
        for position, requirement in enumerate(self.requirements):
            _check_requirement(requirement, where=f"requirements[{position}]")
        if len(set(self.requirements)) < len(self.requirements):
            twice = next(each for each in self.requirements if self.requirements.count(each) > 1)
            raise FormatError(f"{shown(twice)} occurs twice", where="requirements")
        if self.name is not None:
            with inside("name"):
                check_package_name(self.name)
        if self.version is not None:
            with inside("version"):
                parse_version(self.version)

    def request(self) -> Request:
        """Return how the requirements are to be satisfied, as a lock says it."""
        policy = self.policy
        return Request(
            prefer=self.prefer,
            prerelease=self.prerelease,
            strategy=self.strategy,
            apart=self.apart,
            calibrating=True if self.calibrate else None,
            licenses=None if policy.licenses is None else tuple(sorted(policy.licenses)),
            licence_conflicts=policy.licence_conflicts,
            min_f1=policy.min_f1,
            max_size=policy.max_size,
            onnxruntime=policy.onnxruntime,
        )

    @classmethod
    def from_toml(cls, text_of_recipe: str) -> Self:
        """Return the recipe that a TOML text holds.

        Raises:
            FormatError: it is too long, no TOML, or no valid recipe; `where` is the path to the fault.
        """
        check_size(text_of_recipe.encode("utf-8", "replace"), limit=limits.RECIPE_BYTES)
        document = parse_toml(text_of_recipe)
        check_tree(document)
        return cls.from_dict(document)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the recipe that a table holds.

        Raises:
            FormatError: a key is missing, unknown, or has a bad value; `where` is its path.
        """
        fields = Fields(document)
        check_format(fields.optional("format", text, FORMAT), expected=FORMAT)
        taken = {key: fields.optional(key, read) for key, read in READERS.items()}
        _check_known(fields.rest(), known=("format", *READERS))
        if taken["requirements"] is None:
            raise FormatError(
                'is missing; expected a list such as ["acme/pets/cat", "class:dog"]', where="requirements"
            )
        given = {key: value for key, value in taken.items() if value is not None}
        return cls(**given)  # type: ignore[arg-type]


def check_allowed(licence: str, *, where: str) -> None:
    """Check what a policy allows: an SPDX licence, or a level of `LEVELS`.

    Raises:
        FormatError: it is neither.
    """
    if licence in LEVELS:
        return
    try:
        check_license(licence)
    except FormatError as error:
        problem = f"expected an SPDX licence or one of {', '.join(LEVELS)}; got {shown(licence)}"
        raise FormatError(problem, where=where) from error


def _check_requirement(requirement: str, *, where: str) -> None:
    try:
        parse_requirement(requirement)
    except InvalidRequirement as error:
        raise FormatError(f"{error.where}: {error.problem}" if error.where else error.problem, where=where) from error


def _check_known(rest: Mapping[str, JSON], *, known: Iterable[str]) -> None:
    if rest:
        key = min(rest)
        near = difflib.get_close_matches(key, tuple(known), n=1)
        advice = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(known)}"
        raise FormatError(f"is no key of a recipe; {advice}", where=key)


def _reject(value: object) -> str | float:
    """Read ``auto`` or a probability."""
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise FormatError(f"expected auto or a number between 0 and 1, got {shown(value)}")
    return float(value)


def _one_or_more(value: object) -> tuple[str, ...]:
    return (text(value),) if isinstance(value, str) else list_of(text)(value)


def _size(value: object) -> int:
    """Read a size: bytes, or a text with a unit."""
    if isinstance(value, str):
        return parse_size(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FormatError(f"expected a size like 500kB or 2MiB, got {shown(value)}")
    return value


READERS: Mapping[str, Callable[[object], object]] = {
    "requirements": list_of(text),
    "registry": _one_or_more,
    "registries": table_of(text),
    "name": text,
    "version": text,
    "strategy": one_of("auto", "trunk", "parallel", "union"),
    "masks": one_of("materialised", "packed"),
    "calibrate": text,
    "reject": _reject,
    "output": text,
    "prefer": one_of("accuracy", "size", "newest", "f1"),
    "prerelease": flag,
    "apart": flag,
    "policy": Policy.from_dict,
}
"""The keys of a recipe in the order of the page on the format, and what reads each."""
