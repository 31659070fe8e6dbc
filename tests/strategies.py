"""Generators of valid values, shared by all property tests."""

from __future__ import annotations

import dataclasses
import string
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from packaging.version import Version

from modhub.spec.digests import FileRecord, sha256
from modhub.spec.index import Index, Release
from modhub.spec.lock import Lock, LockedModule, Request
from modhub.spec.manifest import ClassLabel, DataSource, Dependency, Manifest, Method, Metric, Parent, Runtime
from modhub.spec.names import COLLECTION_FILES, WINDOWS_DEVICES, CollectionId, PackageId
from modhub.spec.ports import Calibration, InputPort, OutputPort
from modhub.spec.requirements import ClassRequirement, PackageRequirement, PathRequirement
from modhub.spec.versions import parse_specifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypothesis.strategies import SearchStrategy

    from modhub.spec.document import JSON

LOWER = string.ascii_lowercase + string.digits
ALNUM = string.ascii_letters + string.digits
LICENSES = ("MIT", "BSD-2-Clause", "Apache-2.0", "MIT AND (Apache-2.0 OR BSD-2-Clause)", "LicenseRef-Odd")

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
shares = st.floats(min_value=0, max_value=1, allow_nan=False)
lines = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), max_size=20)
words = st.text(ALNUM, min_size=1, max_size=8)
digests = st.integers(min_value=0, max_value=50).map(lambda number: sha256(str(number).encode()))


def is_usable(name: str) -> bool:
    """Return whether a name is free of the reserved words that a generator may hit."""
    return name.lower().split(".")[0] not in WINDOWS_DEVICES and name not in COLLECTION_FILES


def joined(alphabet: str, separators: str) -> SearchStrategy[str]:
    """Return names made of parts with one separator between each two."""
    parts = st.lists(st.text(alphabet, min_size=1, max_size=6), min_size=1, max_size=3)
    glue = st.sampled_from(separators)
    return st.builds(lambda part, between: between.join(part), parts, glue).filter(is_usable)


package_names = joined(LOWER, "._-")
hub_names = joined(ALNUM, "._-").filter(lambda name: not name.lower().endswith(".git"))
collections = st.builds(CollectionId, hub_names, hub_names)
packages = st.builds(PackageId, collections, package_names)
numbers = st.integers(min_value=0, max_value=20)
versions = st.builds(
    lambda numbers, ending: ".".join(map(str, numbers)) + ending,
    st.tuples(numbers, numbers, numbers),
    st.sampled_from(("", "", "", "a1", "b2", "rc10")),
)
specifiers = st.one_of(
    st.just(""),
    st.sampled_from((">=1.2,<2", "^1.2", "^0.3", "~=1.4", "==1.*", "!=1.2.3,>1", ">=1.0.0rc1")),
    versions.map(lambda version: f"=={version}"),
)
json_values: SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1) | finite | lines,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(lines, inner, max_size=3),
    max_leaves=5,
)
extras = st.dictionaries(words.map(lambda word: f"x-{word}"), json_values, max_size=2)
# TOML has no null.
toml_extras = st.dictionaries(words.map(lambda word: f"x-{word}"), lines | st.booleans() | numbers, max_size=2)

files = st.builds(
    FileRecord,
    path=joined(LOWER, ".-"),
    size=st.integers(min_value=0, max_value=2**40),
    sha256=digests,
    extra=st.just({}),
)
axes = st.integers(min_value=1, max_value=512) | st.sampled_from(("length", "height"))
images = st.builds(
    InputPort,
    kind=st.just("image"),
    dtype=st.just("float32"),
    layout=st.sampled_from(("NCHW", "NHWC")),
    shape=st.tuples(st.just("batch"), axes, axes, axes),
    range=st.none() | st.just((0.0, 1.0)) | st.just((0, 255)),
    color=st.sampled_from((None, "RGB", "gray")),
    extra=extras,
)
tokens = st.builds(
    InputPort,
    name=st.just("tokens"),
    kind=st.just("tokens"),
    dtype=st.just("int64"),
    shape=st.tuples(st.just("batch"), axes),
    tokenizer=st.none() | digests,
    vocabulary=st.none() | numbers,
    extra=extras,
)
inputs = images | tokens
calibrations = st.builds(Calibration, scale=finite, offset=finite, ece=st.none() | shares, data=lines, extra=extras)
outputs = st.builds(
    OutputPort,
    name=st.sampled_from(("score", "scores", "logits")),
    shape=st.tuples(st.just("batch"), axes),
    semantic=st.sampled_from(("logit", "logits", "scores")),
    calibration=st.none() | calibrations,
    extra=extras,
)
labels = st.builds(
    ClassLabel,
    name=lines.filter(str.strip),
    parent_index=st.none() | numbers,
    wordnet=st.none() | st.just("n02121620"),
    aliases=st.lists(lines, max_size=2).map(tuple),
    extra=extras,
)
dependencies = st.one_of(
    st.builds(
        Dependency,
        package=package_names.map(lambda name: f"./{name}"),
        version=versions.map(lambda version: f"=={version}"),
        sha256=digests,
        extra=extras,
    ),
    st.builds(Dependency, package=packages.map(str), version=specifiers, sha256=digests, extra=extras),
)
runtimes = st.builds(
    Runtime,
    opset=st.dictionaries(st.sampled_from(("", "ai.onnx.ml")), numbers, max_size=2),
    ir_version=numbers,
    onnxruntime=specifiers,
    extra=st.just({}),
)
parents = st.builds(Parent, name=lines, sha256=digests, classes=numbers, accuracy=st.none() | shares, extra=extras)
methods = st.builds(
    Method,
    name=words,
    version=words,
    paper=st.none() | lines,
    recipe=st.none() | words,
    parameters=st.dictionaries(words, json_values, max_size=2),
    seed=st.none() | st.integers(min_value=-(2**31), max_value=2**31),
    extra=extras,
)
sources = st.builds(DataSource, name=lines, split=words, samples=numbers, sha256=digests, extra=extras)
metrics = st.builds(
    lambda bounds, known, split, n: Metric(
        value=bounds[1], low=bounds[0] if known else None, high=bounds[2] if known else None, split=split, n=n
    ),
    st.lists(finite, min_size=3, max_size=3).map(sorted),
    st.booleans(),
    st.none() | words,
    st.none() | numbers,
)
metric_tables = st.dictionaries(st.sampled_from(("f1", "recall", "macs")), metrics, max_size=3)


@st.composite
def forms(draw: st.DrawFn) -> Mapping[str, tuple[FileRecord, ...]]:
    """Return one or both forms over a few files that agree."""
    records = draw(st.lists(files, max_size=4, unique_by=lambda file: file.path))
    names = draw(st.sets(st.sampled_from(("delta", "standalone")), min_size=1))
    return {name: tuple(file for file in records if draw(st.booleans())) for name in names}


capabilities = st.lists(package_names.map(lambda name: f"class:{name}"), max_size=2, unique=True).map(tuple)
dependency_lists = st.lists(dependencies, min_size=1, max_size=2, unique_by=lambda d: d.package).map(tuple)

manifests = st.builds(
    Manifest,
    format=st.sampled_from(("modhub/manifest@1", "modhub/manifest@1.3")),
    kind=st.sampled_from(("base", "module", "composite")),
    name=package_names,
    version=versions,
    summary=lines,
    license=st.sampled_from(LICENSES),
    homepage=st.none() | lines,
    authors=st.lists(lines, max_size=2).map(tuple),
    created=st.sampled_from(("2026-11-21T00:00:00Z", "2026-11-21T08:10:11.5Z")),
    classes=st.lists(labels, max_size=2, unique_by=lambda label: label.name).map(tuple),
    input=inputs,
    output=outputs,
    provides=capabilities,
    dependencies=dependency_lists,
    runtime=runtimes,
    licenses=st.dictionaries(st.sampled_from(("code", "weights", "data")), st.sampled_from(LICENSES), max_size=2),
    parent=st.none() | parents,
    method=st.none() | methods,
    data=st.none() | sources,
    metrics=metric_tables,
    forms=forms(),
    card=st.none() | st.builds(FileRecord.of, st.just("README.md"), data=st.binary(max_size=3)),
    extra=extras,
)


@st.composite
def releases(draw: st.DrawFn) -> Release:
    """Return the index entry of some manifest."""
    manifest = draw(manifests)
    yanked, deprecated = draw(st.tuples(st.none() | lines, st.none() | lines))
    release = Release.of(manifest, manifest.to_json())
    return dataclasses.replace(release, yanked=yanked, deprecated=deprecated, extra=draw(extras))


release_lists = st.lists(releases(), max_size=3, unique_by=lambda release: (release.name, release.version))


@st.composite
def indexes(draw: st.DrawFn) -> Index:
    """Return an index of a few releases."""
    revision = draw(numbers)
    entries = sorted(draw(release_lists), key=lambda release: (release.name, Version(release.version)))
    return Index(
        format=draw(st.sampled_from(("modhub/index@1", "modhub/index@1.1"))),
        revision=revision,
        previous=draw(digests) if revision else None,
        summary=draw(lines),
        releases=tuple(entries),
        extra=draw(extras),
    )


origins = st.none() | st.sampled_from(("work", "./a folder", "hf://acme", "file:///srv/modules"))

classes_wanted = st.builds(
    ClassRequirement,
    class_name=package_names,
    options=st.fixed_dictionaries(
        {},
        optional={
            "method": st.sampled_from(("moda", "gradsplitter")),
            "license": st.sampled_from((*LICENSES, "permissive", "weak-copyleft")),
            "min-f1": st.sampled_from(("0", "0.9", "1")),
            "max-size": st.sampled_from(("4096", "1.5MB", "2MiB")),
            "collection": collections.map(str),
            "variant": st.sampled_from(("delta", "standalone")),
        },
    ),
    origin=origins,
)
packages_wanted = st.builds(
    PackageRequirement,
    package=packages,
    specifier=specifiers.map(parse_specifier),
    variant=st.none() | st.sampled_from(("delta", "standalone")),
    sha256=st.none() | digests,
    origin=origins,
)
paths_wanted = st.builds(
    PathRequirement, path=st.sampled_from(("./cat", "../a b/c", "/data/cat", "~/cat", "cat", "C:\\cat"))
)
requirements = classes_wanted | packages_wanted | paths_wanted


lock_requests = st.builds(
    Request,
    prefer=st.sampled_from((None, "size")),
    prerelease=st.none() | st.booleans(),
    strategy=st.sampled_from((None, "union")),
    apart=st.none() | st.booleans(),
    calibrating=st.none() | st.booleans(),
    licenses=st.none() | st.just(("MIT", "attribution")),
    licence_conflicts=st.sampled_from((None, "warn")),
    min_f1=st.none() | st.floats(0, 1),
    max_size=st.none() | numbers,
    onnxruntime=st.sampled_from((None, "1.31.1")),
)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    """Return a lock whose modules may depend on each other."""
    identities = draw(st.lists(st.tuples(packages.map(str), versions), max_size=3, unique_by=lambda pair: pair[0]))
    known = [f"{name}=={version}" for name, version in identities]
    chosen = st.lists(st.sampled_from(known), max_size=2).map(tuple) if known else st.just(())
    modules = [
        LockedModule(
            name=name,
            version=version,
            kind=draw(st.sampled_from(("base", "module", "composite"))),
            registry=draw(lines),
            revision=draw(st.none() | words),
            manifest_sha256=draw(digests),
            form=draw(st.sampled_from(("delta", "standalone"))),
            files=draw(st.lists(files, max_size=2).map(tuple)),
            depends=draw(chosen),
            parent=draw(st.none() | digests),
            input=draw(st.none() | digests),
            semantic=draw(st.sampled_from((None, "logit", "scores"))),
            calibrated=draw(st.none() | st.booleans()),
            classes=draw(st.lists(lines, max_size=2).map(tuple)),
            license="MIT",
            why=draw(st.lists(lines, max_size=2).map(tuple)),
            extra=draw(toml_extras),
        )
        for name, version in sorted(identities)
    ]
    return Lock(
        version=draw(st.sampled_from(("1", "1.2"))),
        created_by=draw(lines),
        requirements=tuple(str(requirement) for requirement in draw(st.lists(requirements, max_size=3))),
        request=draw(lock_requests),
        modules=tuple(modules),
        target=draw(runtimes),
        extra=draw(toml_extras),
    )
