"""Files in, a `Package` out, or every problem at once. Everything read is hostile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import FormatError, IntegrityError, InvalidNetwork, InvalidPackage
from modhub.network.onnx_file import fingerprint
from modhub.network.shapes import infer_shapes
from modhub.package.delta import DELTA_FILE
from modhub.package.materialise import read_module, read_network
from modhub.package.package import GRAPH_FILE, MANIFEST_FILE, Package
from modhub.package.safetensors_reader import read_arrays, read_header
from modhub.package.sites_file import SITES_FILE, sites_from_json
from modhub.spec.digests import sha256
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modhub.network.network import Network

SEMANTICS = {"base": "logits", "module": "logit", "composite": "scores"}


def verify(files: Mapping[str, bytes], *, base: Package | None = None, subject: str = "package") -> Package:
    """Return the package that some files form.

    Args:
        files: file names inside the release folder and their bytes.
        base: the base of a delta, to check that the two fit; without it only the delta itself is checked.
        subject: how errors call the package.

    Raises:
        InvalidPackage: with every problem found, each naming its file and field.
    """
    if MANIFEST_FILE not in files:
        raise InvalidPackage([FormatError("is missing", file=MANIFEST_FILE)], subject=subject)
    try:
        manifest = Manifest.from_json(files[MANIFEST_FILE])
    except FormatError as error:
        raise InvalidPackage([error.in_file(MANIFEST_FILE)], subject=subject) from error
    package = Package(manifest=manifest, files=files)
    problems = _file_problems(package)
    if not problems:
        problems = _content_problems(package, base)
    if problems:
        raise InvalidPackage(problems, subject=subject)
    return package


def check_digests(package: Package) -> None:
    """Check that a package's files are those that its manifest names, byte for byte.

    Raises:
        IntegrityError: a size or digest differs, or a file is missing or surplus.
    """
    problems = _file_problems(package)
    if problems:
        raise IntegrityError(f"{package.name} {package.version}: {problems[0]}")


def _file_problems(package: Package) -> list[FormatError]:
    problems = []
    records = {record.path: record for record in package.manifest.files}
    for path, record in records.items():
        data = package.files.get(path)
        if data is None:
            problems.append(FormatError("is named by the manifest but missing", file=path))
        elif len(data) != record.size:
            problems.append(FormatError(f"is {len(data)} bytes long, the manifest says {record.size}", file=path))
        elif sha256(data) != record.sha256:
            problems.append(FormatError(f"has sha256 {sha256(data)}, the manifest says {record.sha256}", file=path))
    surplus = sorted(set(package.files) - set(records) - {MANIFEST_FILE})
    problems.extend(FormatError("is not named by the manifest", file=path) for path in surplus)
    return problems


def _content_problems(package: Package, base: Package | None) -> list[FormatError]:
    problems: list[FormatError] = []

    def attempt(file: str, check: Callable[[], None]) -> None:
        try:
            check()
        except InvalidNetwork as error:
            problems.append(FormatError(error.problem, file=file))
        except FormatError as error:
            problems.append(error if error.file else error.in_file(file))

    forms = package.manifest.forms
    for form in sorted(set(forms) - {"delta", "standalone"}):
        problems.append(FormatError(f"the form {form!r} is unknown", where="forms", file=MANIFEST_FILE))
    attempt(MANIFEST_FILE, lambda: _check_kind(package.manifest))
    if "standalone" in forms:
        attempt(GRAPH_FILE, lambda: _check_standalone(package))
    if "delta" in forms:
        attempt(DELTA_FILE, lambda: _check_delta(package, base))
    return problems


def _check_kind(manifest: Manifest) -> None:
    expected = SEMANTICS[manifest.kind]
    if manifest.output.semantic != expected:
        raise FormatError(f"a {manifest.kind} has {expected!r}, not {manifest.output.semantic!r}", where="output.semantic")
    columns = manifest.output.shape[-1]
    if columns != len(manifest.classes):
        raise FormatError(f"{len(manifest.classes)} classes for {columns} output columns", where="classes")
    if manifest.kind == "base" and "standalone" not in manifest.forms:
        raise FormatError("a base needs the form 'standalone'", where="forms")


def _check_standalone(package: Package) -> None:
    network = read_network(package)
    shape = infer_shapes(network)[network.output]
    manifest = package.manifest
    if shape != manifest.output.shape or network.output_shape != shape or network.output != manifest.output.name:
        declared = f"{manifest.output.name} {list(manifest.output.shape)}"
        raise FormatError(f"makes {network.output} {list(shape)}, declared is {declared}")
    if manifest.kind == "base":
        _check_base(package, network)


def _check_base(package: Package, network: Network) -> None:
    parent = package.manifest.parent
    if parent is None or parent.sha256 != fingerprint(network):
        raise FormatError(
            f"the network's fingerprint is {fingerprint(network)}", where="parent.sha256", file=MANIFEST_FILE
        )
    if SITES_FILE not in package.files:
        raise FormatError("is missing", file=SITES_FILE)
    sites = sites_from_json(package.files[SITES_FILE])
    for use in sites.arrays:
        array = network.arrays.get(use.array)
        if array is None or use.axis >= array.ndim or array.shape[use.axis] != len(use.channels):
            raise FormatError(f"slices {use.array!r} along axis {use.axis}, which does not fit", file=SITES_FILE)


def _check_delta(package: Package, base: Package | None) -> None:
    if package.manifest.kind != "module":
        raise FormatError(f"a {package.manifest.kind} cannot be a delta", where="forms.delta", file=MANIFEST_FILE)
    if DELTA_FILE not in package.files:
        raise FormatError("is missing")
    header = read_header(package.files[DELTA_FILE])
    read_arrays(package.files[DELTA_FILE], header)
    if set(header.metadata) != {"modhub"}:
        raise FormatError("expected one metadata entry, 'modhub'", where="__metadata__")
    if base is not None:
        _, _, module = read_module(package, base)
        label = package.manifest.classes[0]
        if module.row != label.parent_index:
            raise FormatError(f"scores row {module.row}, the manifest says {label.parent_index}", where="row")
