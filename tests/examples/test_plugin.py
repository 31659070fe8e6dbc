"""A package of another author adds a decomposer, a registry and a glue, by being installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modhub import flow, plugins
from modhub.cli.main import run
from modhub.composer.glue import fit, glues
from modhub.datasets import load_dataset
from modhub.decomposers import find_decomposer, methods
from modhub.decomposers.options import Options
from modhub.errors import AccessDenied, FormatError, InvalidPlugin, NotFound, UsageError
from modhub.hub.registries import open_registry
from modhub.spec.names import CollectionId

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example was installed into, by pip as it stands."""
    source, target = tmp_path_factory.mktemp("plugin") / "source", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    quietly = [
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    command = [sys.executable, "-m", "pip", "install", *quietly, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture
def _plugged(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))


def declare(folder: Path, *, name: str, group: str, value: str, package: str = "strange") -> None:
    """Write what an installed package says of itself: one entry point."""
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n", encoding="utf-8")


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, for plugins that do not work."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def strange_module(folder: Path, text: str, *, group: str, name: str = "odd") -> None:
    """Install a package with one plugin, the function `make` of some source text."""
    module = f"strange_{folder.parent.name}".replace("-", "_")
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    declare(folder, name=name, group=group, value=f"{module}:make")


@pytest.mark.usefixtures("_plugged")
def test_names_of_plugins_are_known_without_importing_them() -> None:
    assert methods()[-1] == "magnitude"
    assert glues()[-1] == "midpoint"
    assert [str(plugin) for group in plugins.GROUPS for plugin in plugins.installed(group)] == [
        "the plugin 'magnitude' (modhub.decomposers) of modhub-example 0.1.0",
        "the plugin 'zip' (modhub.backends) of modhub-example 0.1.0",
        "the plugin 'midpoint' (modhub.glue) of modhub-example 0.1.0",
    ]
    with pytest.raises(UsageError, match=r"no method 'magnitud'; the methods are .*, weightmask, magnitude$"):
        find_decomposer("magnitud")


@pytest.mark.usefixtures("_plugged")
def test_its_decomposer_splits_a_network(data_folder: Path, tmp_path: Path) -> None:
    data = load_dataset(data_folder / "mnist-test-200.npz")
    split = flow.decompose(
        flow.load(data_folder / "mnist-mlp1-panrajan.onnx"),
        data,
        method="magnitude",
        options=Options(max_loss=20.0, keep=0.5, align=1),
    )
    assert split.method.name == "magnitude"
    assert len(split.modules) == 10
    assert 0.4 < split.history[-1]["kept"] < 1
    folder = flow.write_collection(flow.pack(split), tmp_path / "split")
    assert len(flow.check(folder)) == 11
    parts, _ = flow.gather([str(folder)])
    accuracy = flow.evaluate(flow.compose(parts), data, timed=False).accuracy
    assert accuracy is not None
    assert accuracy.value > 0.7


@pytest.mark.usefixtures("_plugged")
def test_its_registry_is_read_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modhub.hub.registries import seed_folder

    shutil.make_archive(str(tmp_path / "modules"), "zip", seed_folder())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODHUB_STORE", str(tmp_path / "store"))
    address = f"zip:{tmp_path / 'modules.zip'}"
    assert run(["install", "-r", address, "modhub/resnet20-cifar10/cat"]) == 0
    assert f'registry = "{address}"' in Path("modhub.lock").read_text(encoding="utf-8")
    assert run(["compose", "modhub.lock", "-o", "cat"]) == 0
    backend, pets = open_registry(address), CollectionId("acme", "pets")
    assert backend.name == address
    assert backend.head(pets) is None
    with pytest.raises(AccessDenied, match="can only be read"):
        backend.commit(pets, {}, parent=None, message="")
    with pytest.raises(NotFound, match="there is no file"):
        list(open_registry("zip:nowhere.zip").collections())
    Path("not.zip").write_bytes(b"plain")
    with pytest.raises(FormatError, match="is no ZIP file"):
        list(open_registry("zip:not.zip").collections())
    with pytest.raises(UsageError, match="expected zip:/path"):
        open_registry("zip:")


@pytest.mark.usefixtures("_plugged")
def test_its_glue_patches_a_model(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("\n".join(load_dataset("sample:cifar10-train").classes or ()), encoding="utf-8")
    weak = ["patch", str(data_folder / "cifar10-lenet.onnx"), "--class-names", "names.txt", "--class", "cat"]
    fitted = ["--with", "class:cat", "--data", "sample:cifar10-test"]
    assert run([*weak, *fitted, "--glue", "midpoint", "-o", "patched"]) == 0
    manifest = json.loads(Path("patched/module.json").read_text(encoding="utf-8"))
    assert manifest["method"]["parameters"]["glue"] == "midpoint"
    assert manifest["metrics"]["f1_after"]["value"] > manifest["metrics"]["f1_before"]["value"]


def test_what_no_package_brings_is_refused_early(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["patch", "weak.onnx", "--class", "cat", "--with", "class:cat", "-o", "nowhere", "--glue", "putty"]
    assert run(words) == 2
    assert "there is no glue 'putty'; the glues are linear, minmax, none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("group", "call", "answer", "problem"),
    [
        (plugins.DECOMPOSERS, "(*_, **__)", "None", "returned NoneType, expected a Decomposition"),
        (plugins.DECOMPOSERS, "(*_, **__)", "1 / 0", "failed: ZeroDivisionError: division by zero"),
        (plugins.BACKENDS, "(address)", "address", "opened 'odd:here' as str, which has no name, place"),
        (plugins.BACKENDS, "(address)", "1 / 0", "failed: ZeroDivisionError"),
        (plugins.GLUE, "(**_)", "3", "returned int, expected a Glue"),
        (plugins.GLUE, "(**_)", "Glue('odd', np.eye(3), np.zeros(3), 'odds', 'scores')", r"a matrix \[3, 3\] and"),
        (plugins.GLUE, "(**_)", "Glue('odd', np.ones((3, 4)) / 0, np.zeros(3), 'odds', 'scores')", "not finite"),
        (plugins.GLUE, "(**_)", "Glue('odd', np.ones((3, 4)), np.zeros(3), 'tea', 'scores')", "reads 'tea'"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_plugin_that_does_not_keep_its_promise_is_named(
    group: str, call: str, answer: str, problem: str, strange: Path
) -> None:
    source = f"import numpy as np\nfrom modhub.composer.glue import Glue\n\ndef make{call}:\n    return {answer}\n"
    strange_module(strange, source, group=group)
    with pytest.raises(InvalidPlugin, match=rf"^the plugin 'odd' \({group}\) of strange 1\.0 .*{problem}"):
        use(group)


def use(group: str) -> object:
    """Return what the plugin `odd` of a group answers."""
    if group == plugins.DECOMPOSERS:
        given: Mapping[str, object] = {"options": Options(), "progress": print}
        return find_decomposer("odd")(None, None, None, **given)  # type: ignore[arg-type]
    if group == plugins.BACKENDS:
        return open_registry("odd:here")
    return fit("odd", column=0, train=None, validation=None, width=3)


def test_a_plugin_that_cannot_be_imported_is_named(strange: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange_module(strange, "import nowhere_to_be_found", group=plugins.BACKENDS)
    assert run(["search", "-r", "odd:here", "cat"]) == 2
    told = capsys.readouterr().err
    assert "the plugin 'odd' (modhub.backends) of strange 1.0 cannot be loaded" in told
    assert "No module named 'nowhere_to_be_found'" in told


def test_a_plugin_has_to_be_something_to_call(strange: Path) -> None:
    strange_module(strange, "make = 3", group=plugins.GLUE)
    with pytest.raises(InvalidPlugin, match="is int, expected something to call"):
        fit("odd", column=0, train=None, validation=None, width=3)


def test_a_name_that_two_packages_bring_is_nobodys(strange: Path) -> None:
    for package in ("strange", "stranger"):
        declare(strange, name="odd", group=plugins.GLUE, value="json:dumps", package=package)
    with pytest.raises(InvalidPlugin, match=r"strange 1\.0 and stranger 1.0 both bring a plugin 'odd'"):
        plugins.find(plugins.GLUE, "odd")


@pytest.mark.parametrize(("group", "name"), [(plugins.DECOMPOSERS, "saliency"), (plugins.GLUE, "none")])
def test_what_modhub_has_itself_cannot_be_replaced(group: str, name: str, strange: Path) -> None:
    strange_module(strange, "raise RuntimeError('never imported')", group=group, name=name)
    assert methods().count("saliency") == glues().count("none") == 1
    assert find_decomposer("saliency").__module__ == "modhub.decomposers.saliency"
    assert fit("none", column=0, train=None, validation=None, width=3).kind == "none"


def test_a_registry_of_modhub_cannot_be_replaced(strange: Path) -> None:
    strange_module(strange, "raise RuntimeError('never imported')", group=plugins.BACKENDS, name="seed")
    assert open_registry("seed:").name == "seed:"
