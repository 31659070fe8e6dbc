"""Files in, a `Package` out, or every problem at once. Everything read is hostile."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from modhub.errors import FormatError, InvalidPackage
from modhub.fsops import bytes_of
from modhub.network.network import BATCH, IR_VERSION, OPSET
from modhub.network.onnx_file import WEIGHTS_FILE, to_onnx
from modhub.network.outline import outline, outlined
from modhub.network.shapes import infer_shapes
from modhub.network.slice import sliced
from modhub.package.delta import DELTA_FILE, read_delta
from modhub.package.int8 import INT8, INT8_FILES, INT8_GRAPH, read_int8
from modhub.package.materialise import open_base, open_module, read_network
from modhub.package.package import ARRAYS_SUFFIX, GRAPH_FILE, MANIFEST_FILE, Package
from modhub.package.safetensors_reader import read_arrays, read_header
from modhub.package.sites_check import check_sites
from modhub.package.sites_file import SITES_FILE, sites_from_json
from modhub.package.stem import STEM_FILE, VALUES_FILE
from modhub.package.value_limits import checked_shapes
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.document import PLAIN_KEY, shown
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modhub.fsops import Content
    from modhub.network.network import Network
    from modhub.network.sites import Sites

SEMANTICS = {"base": "logits", "module": "logit", "composite": "scores"}
STANDALONE = (GRAPH_FILE, WEIGHTS_FILE)
VALUES = (GRAPH_FILE, STEM_FILE, VALUES_FILE)
GRAPHS = {"standalone": STANDALONE, "values": VALUES}
"""The files that a form needs to have a graph of its own."""

READ_WHOLE = {GRAPH_FILE: limits.GRAPH_BYTES, INT8_GRAPH: limits.GRAPH_BYTES, SITES_FILE: limits.SITES_BYTES}
"""Files that are taken into memory as they are, and the most bytes of each."""


def verify(
    files: Mapping[str, Content], *, base: Package | None = None, form: str | None = None, subject: str = "package"
) -> Package:
    """Return the package that some files form.

    Args:
        files: file names inside the release folder, and their bytes or where they lie.
        base: the verified base of a delta, to check that the two fit; without it only the delta itself is checked.
        form: the one form whose files were fetched; None where all files are there, the card among them.
        subject: how errors call the package.

    Raises:
        InvalidPackage: with every problem found, each naming its file and field.
    """
    if MANIFEST_FILE not in files:
        raise InvalidPackage([FormatError("is missing", file=MANIFEST_FILE)], subject=subject)
    try:
        manifest = Manifest.from_json(bytes_of(files[MANIFEST_FILE]))
    except FormatError as error:
        raise InvalidPackage([error.in_file(MANIFEST_FILE)], subject=subject) from error
    package = Package(manifest=manifest, files=files)
    problems = _Problems()
    problems.extend(_file_problems(package, form))
    problems.extend(_manifest_problems(manifest))
    present = manifest.forms if form is None else {form}
    usable = set(files) - {problem.file for problem in problems}
    _check_contents(problems, package, base, usable=usable, present=set(present))
    if problems:
        raise InvalidPackage(_few(problems), subject=subject)
    return package


class _Problems(list[FormatError]):
    """What was found so far."""

    @contextmanager
    def collecting(self, file: str) -> Iterator[None]:
        """Add what the body raises, as problems of a file where they name none."""
        try:
            yield
        except InvalidPackage as error:
            self.extend(problem if problem.file else problem.in_file(file) for problem in error.problems)
        except FormatError as error:
            self.append(error if error.file else error.in_file(file))


def _few(problems: list[FormatError]) -> list[FormatError]:
    left = len(problems) - limits.PROBLEMS
    return problems if left <= 0 else [*problems[: limits.PROBLEMS], FormatError(f"and {left} more")]


def _file_problems(package: Package, form: str | None) -> Iterator[FormatError]:
    manifest = package.manifest
    needed = manifest.files if form is None else manifest.forms.get(form)
    if needed is None:
        yield FormatError(f"lacks the form {shown(form)}", where="forms", file=MANIFEST_FILE)
        return
    records = {record.path: record for record in manifest.files}
    for path in sorted({record.path for record in needed} - set(package.files)):
        yield FormatError("is named by the manifest but missing", file=path)
    for path, data in sorted(package.files.items()):
        record = records.get(path)
        if path == MANIFEST_FILE:
            continue
        if record is None:
            yield FormatError("is not named by the manifest", file=path if PLAIN_KEY.fullmatch(path) else shown(path))
        elif len(data) != record.size:
            yield FormatError(f"is {len(data)} bytes long, the manifest says {record.size}", file=path)
        elif len(data) > READ_WHOLE.get(path, record.size):
            yield FormatError(f"is {len(data)} bytes long, at most {READ_WHOLE[path]} are allowed", file=path)
        elif (found := sha256(data) if isinstance(data, bytes) else data.digest()) != record.sha256:
            yield FormatError(f"has sha256 {found}, the manifest says {record.sha256}", file=path)


def _manifest_problems(manifest: Manifest) -> Iterator[FormatError]:
    """Yield where the fields of a manifest contradict one another."""

    def problem(where: str, text: str) -> FormatError:
        return FormatError(text, where=where, file=MANIFEST_FILE)

    kind, output, forms = manifest.kind, manifest.output, manifest.forms
    if output.semantic != SEMANTICS[kind]:
        yield problem("output.semantic", f"a {kind} has {SEMANTICS[kind]!r}, not {output.semantic!r}")
    if output.shape != (BATCH, len(manifest.classes)) or not manifest.classes:
        yield problem("classes", f"there are {len(manifest.classes)} for an output of shape {list(output.shape)}")
    if kind == "module" and len(manifest.classes) > 1:
        yield problem("classes", f"a module scores one class, not {len(manifest.classes)}")
    if dict(manifest.runtime.opset) != {"": OPSET} or manifest.runtime.ir_version != IR_VERSION:
        yield problem("runtime", f"expected opset {OPSET} of the default domain and IR version {IR_VERSION}")
    for form in sorted(set(forms) - {"delta", "standalone", "values", INT8}):
        yield problem("forms", f"the form {form!r} is unknown")
    yield from _form_problems(manifest, problem)
    sites = [SITES_FILE] if kind == "base" else []
    needed = {"delta": {DELTA_FILE}, "standalone": {*STANDALONE, *sites}, "values": {*VALUES, *sites}}
    needed[INT8] = set(INT8_FILES)
    for form in sorted(set(forms) & set(needed)):
        for path in sorted(needed[form] - {record.path for record in forms[form]}):
            yield problem(f"forms.{form}", f"names no {path}")


def _form_problems(manifest: Manifest, problem: Callable[[str, str], FormatError]) -> Iterator[FormatError]:
    """Yield the forms that a kind of package cannot have, and those that it lacks."""
    kind, forms = manifest.kind, manifest.forms
    if "values" in forms and (kind != "base" or "standalone" in forms):
        yield problem("forms.values", "only a base has it, and no other form beside it")
    if kind != "module" and "standalone" not in forms and not (kind == "base" and "values" in forms):
        yield problem("forms", f"a {kind} needs the form 'standalone'")
    if kind != "module" and "delta" in forms:
        yield problem("forms.delta", f"a {kind} cannot be a delta")
    if INT8 in forms and (kind != "module" or len(forms) == 1):
        yield problem("forms.int8", "only a module has it, beside another form")


def _check_contents(
    problems: _Problems, package: Package, base: Package | None, *, usable: set[str], present: set[str]
) -> None:
    """Look into every file that is the one the manifest names, whatever is wrong with the others."""
    has_graph = any(form in present and set(needed) <= usable for form, needed in GRAPHS.items())
    for path in sorted(usable - {DELTA_FILE} - ({WEIGHTS_FILE} if has_graph else set())):
        if path.endswith(ARRAYS_SUFFIX):
            with problems.collecting(path):
                data = package.data(path)
                read_arrays(data, read_header(data))
    if has_graph:
        before = len(problems)
        with problems.collecting(GRAPH_FILE):
            _check_output(package.manifest, read_network(package))
        if package.manifest.kind == "base" and SITES_FILE in usable:
            with problems.collecting(SITES_FILE):
                sites = sites_from_json(package.read(SITES_FILE))
                if len(problems) == before:
                    _check_base(package, sites, problems)
    if INT8 in present and set(INT8_FILES) <= usable:
        with problems.collecting(INT8_GRAPH):
            _check_output(package.manifest, read_int8(package))
    if "delta" in present and DELTA_FILE in usable:
        with problems.collecting(DELTA_FILE):
            _check_delta(package)
            if base is not None:
                _check_materialised(package, base, is_both=has_graph)


def _check_output(manifest: Manifest, network: Network) -> None:
    shape = checked_shapes(network)[network.output]
    if shape != manifest.output.shape or network.output_shape != shape or network.output != manifest.output.name:
        declared = f"{manifest.output.name} {list(manifest.output.shape)}"
        raise FormatError(f"makes {network.output} {list(shape)}, declared is {declared}")


def _check_base(package: Package, sites: Sites, problems: _Problems) -> None:
    opened = open_base(package)
    parent = package.manifest.parent
    if parent is None or parent.sha256 != opened.fingerprint:
        problem = f"the network's fingerprint is {opened.fingerprint}"
        problems.append(FormatError(problem, where="parent.sha256", file=MANIFEST_FILE))
    check_sites(sites, opened.network, shapes=infer_shapes(opened.network))
    for name, flags in opened.stem.flags.items():
        if name not in opened.network.arrays or opened.network.arrays[name].shape != flags.shape:
            problem = f"is no array of the network of shape {list(flags.shape)}"
            problems.append(FormatError(problem, where=f"bits/{name}", file=STEM_FILE))


def _check_delta(package: Package) -> None:
    delta = read_delta(package.data(DELTA_FILE))
    manifest = package.manifest
    label = manifest.classes[0] if manifest.classes else None
    if label is None or (delta.row, delta.label) != (label.parent_index, label.name):
        found = f"scores row {delta.row}, {shown(delta.label)}"
        said = f"row {label.parent_index}, {shown(label.name)}" if label else "none"
        raise FormatError(f"{found}; the manifest says {said}", where="row")
    if manifest.parent is None or manifest.parent.sha256 != delta.base:
        problem = f"the delta was made for the network {shown(delta.base)}"
        raise FormatError(problem, where="parent.sha256", file=MANIFEST_FILE)


def _check_materialised(package: Package, base: Package, *, is_both: bool) -> None:
    if base.digest not in {dependency.sha256 for dependency in package.manifest.dependencies}:
        problem = f"depends on no package with the manifest {base.digest}, which is its base"
        raise FormatError(problem, where="dependencies", file=MANIFEST_FILE)
    network, sites, module = open_module(package, base)
    _check_output(package.manifest, sliced(outline(network), sites, outlined(module)))
    if is_both and to_onnx(sliced(network, sites, module)) != tuple(package.data(path) for path in STANDALONE):
        raise FormatError("gives another network than the form 'standalone'")
