"""From the options of `modhub decompose` to values."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub.decomposers.options import Options
from modhub.errors import FormatError, InvalidVersion, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.datasets import Dataset
    from modhub.engines.model import Model
    from modhub.package.pack import Release

DEFAULTS = Options()
PAPER_LOSS = 1.0
"""Points that modules may lose by recipe ``paper``."""
DURATION = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,3})?)(?P<unit>[smh])")
SECONDS = {"s": 1, "m": 60, "h": 3600}
NAMES_LIMIT = 1 << 20
"""Bytes of a file of class names."""


def release_of(choices: Mapping[str, Any], model: str) -> Release:
    """Return what is said about all packages, checked before any work is done.

    Raises:
        UsageError: the version or the licence is malformed.
    """
    from modhub.package.pack import Release
    from modhub.spec.manifest import check_license
    from modhub.spec.versions import parse_version

    try:
        parse_version(choices["version"])
        check_license(choices["license"])
    except FormatError as error:
        option = "--version" if isinstance(error, InvalidVersion) else "--license"
        raise UsageError(f"{option}: {error}") from error
    return Release(
        version=choices["version"],
        created=now(),
        license=choices["license"],
        parent_name=choices["name"] or parent_name(model),
        forms=forms_of(choices["forms"]),
    )


def forms_of(asked: Sequence[str]) -> tuple[str, ...]:
    """Return the forms to pack, each once; eight bits alone come beside deltas."""
    from modhub.package.int8 import INT8

    forms = tuple(dict.fromkeys(asked))
    return ("delta", *forms) if not set(forms) - {INT8} else forms


def parent_name(model: str) -> str:
    """Return what to call a parent: its file's name, or that of the sample or factory."""
    return Path(model).stem if Path(model).exists() else model.rpartition(":")[2]


def now() -> str:
    """Return the time in UTC to the second, RFC 3339."""
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def open_parent(model: str, choices: Mapping[str, Any]) -> Model:
    """Return the classifier to split.

    Raises:
        UsageError: the shape of the input is no shape, or the normalisation does not fit it.
    """
    from modhub import flow

    sizes = [size.strip() for size in (choices["input_shape"] or "").split(",") if size.strip()]
    if not all(size.isdigit() for size in sizes):
        raise UsageError(f"--input-shape: expected sizes like 3,32,32, got {choices['input_shape']!r}")
    # A factory is found where `python -m` would find it; an installed command does not look there by itself.
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        parent = flow.load(model, weights=choices["weights"], input_shape=[int(size) for size in sizes])
    finally:
        sys.path.remove(here)
    return normalising(parent, mean=numbers(choices["mean"], "--mean"), std=numbers(choices["std"], "--std"))


def normalising(parent: Model, *, mean: Sequence[float], std: Sequence[float]) -> Model:
    """Return the classifier with the normalisation in front of it, if there is one.

    Raises:
        UsageError: one of the two is missing, or they do not fit the input.
    """
    from modhub.network.normalise import normalised

    if not mean and not std:
        return parent
    if not mean or not std:
        raise UsageError("--mean and --std go together")
    return dataclasses.replace(parent, network=normalised(parent.network, mean=mean, std=std), package=None)


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """Return the numbers of a list like ``0.49,0.48,0.45``; none of no text.

    Raises:
        UsageError: one is no number.
    """
    try:
        found = tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        found = (math.nan,)
    if not all(math.isfinite(number) for number in found):
        raise UsageError(f"{option}: expected numbers like 0.49,0.48,0.45, got {text!r}")
    return found


def class_names(file: Path | None, found: tuple[str, ...] | None, parent: Model) -> tuple[str, ...]:
    """Return the names of the logits: from the file, from the parent's package, from the data, or numbered ones.

    Raises:
        UsageError: there are more or fewer names than classes.
        NotFound: there is no such file.
    """
    names = found if found is not None and not parent.is_named else parent.columns
    if file is not None:
        names = read_names(file)
    if len(names) != len(parent.columns):
        problem = f"there are {len(names)} class names, and the network has {len(parent.columns)} classes"
        raise UsageError(f"{problem}: name them with --class-names")
    return names


def read_names(file: Path) -> tuple[str, ...]:
    """Return the lines of a text file that are not empty."""
    from modhub import fsops

    try:
        text = fsops.read_file(file.resolve(), limit=NAMES_LIMIT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("is no UTF-8 text", file=str(file)) from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def ordered(data: Dataset, labels: Sequence[str]) -> Dataset:
    """Return data that numbers its classes as the network does.

    Raises:
        UsageError: the data lacks a class.
    """
    if data.classes is None:
        return dataclasses.replace(data, classes=tuple(labels))
    return data if data.classes == tuple(labels) or data.y is None else data.subset(labels)


def options_of(choices: Mapping[str, Any], labels: tuple[str, ...]) -> Options:
    """Return the decomposer's options.

    Raises:
        UsageError: a class is unknown.
    """
    wanted = [name.strip() for name in (choices["classes"] or "").split(",") if name.strip()]
    unknown = [name for name in wanted if name not in labels]
    if unknown:
        raise UsageError(f"there is no class {unknown[0]!r}; the classes are {', '.join(labels)}")
    same = ("recipe", "keep", "cut", "steps", "flip", "align", "tied", "sharing", "seed", "device")
    usual = PAPER_LOSS if choices["recipe"] == "paper" else DEFAULTS.max_loss
    max_loss = usual if choices["max_loss"] is None else choices["max_loss"]
    classes = tuple(dict.fromkeys(map(labels.index, wanted)))
    return Options(**{name: choices[name] for name in same}, max_loss=max_loss, classes=classes)


def seconds(text: str | None) -> float | None:
    """Return a duration such as ``90s``, ``10m`` or ``2h`` in seconds.

    Raises:
        UsageError: the text is no duration.
    """
    if text is None:
        return None
    found = DURATION.fullmatch(text)
    if not found or not float(found["number"]):
        raise UsageError(f"--budget: expected a duration like 90s, 10m or 2h, got {text!r}")
    return float(found["number"]) * SECONDS[found["unit"]]
