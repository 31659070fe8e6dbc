"""Wrong input: one readable paragraph, the right exit code, and nothing half-written."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from modhub import flow
from tests.support.pets import CLASSES, COLLECTION, pets_network, pets_packages, write_pets_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]


def check_refusal(answer: Answer, code: int, *words: str) -> None:
    """Check that a command said no in one paragraph that holds some words."""
    assert answer.code == code, answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[None]:
    """Fail where a command left anything in the folder it was called in."""
    before = set(tmp_path.iterdir())
    yield
    assert set(tmp_path.iterdir()) == before


def save(path: Path, nodes: list[onnx.NodeProto], *, output: tuple[int, ...]) -> Path:
    """Write an ONNX model that takes images of pets."""
    kind = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info("x", kind, ["batch", 3, 8, 8])]
    outputs = [onnx.helper.make_tensor_value_info("y", kind, ["batch", *output])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs)
    domains = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("example.com", 1)]
    onnx.save_model(onnx.helper.make_model(graph, opset_imports=domains, ir_version=10), path)
    return path


class TestDecompose:
    """What can be wrong with a model, its data and its options."""

    @pytest.fixture
    def split(self, call: Call, model: Path, data: Path) -> Callable[..., Answer]:
        def called(*words: object, model: object = model, data: object = data) -> Answer:
            return call("decompose", model, "--data", data, "-o", "out", *words)

        return called

    @pytest.mark.usefixtures("untouched")
    def test_a_missing_model(self, split: Call) -> None:
        check_refusal(split(model="nowhere.onnx"), 3, "nowhere.onnx")

    @pytest.mark.usefixtures("untouched")
    def test_a_model_that_is_no_onnx(self, split: Call, data: Path) -> None:
        check_refusal(split(model=data), 1, data.name, "not an ONNX model")

    @pytest.mark.parametrize("suffix", [".pt", ".pth", ".pt2", ".pkl"])
    @pytest.mark.usefixtures("untouched")
    def test_a_model_that_is_a_pickle(self, split: Call, suffix: str) -> None:
        check_refusal(split(model=f"net{suffix}"), 2, f"net{suffix}", "pickles", "safetensors")

    def test_a_network_that_is_no_classifier(self, split: Call, tmp_path: Path) -> None:
        path = save(tmp_path / "relu.onnx", [onnx.helper.make_node("Relu", ["x"], ["y"])], output=(3, 8, 8))
        check_refusal(split(model=path), 1, "relu.onnx", "[batch, classes]")
        assert not (tmp_path / "out").exists()

    def test_an_operator_that_nobody_knows(self, split: Call, tmp_path: Path) -> None:
        node = onnx.helper.make_node("Telepathy", ["x"], ["y"], domain="example.com", name="guess")
        path = save(tmp_path / "odd.onnx", [node], output=(4,))
        check_refusal(split(model=path), 1, "Telepathy node 'guess'")

    @pytest.mark.usefixtures("untouched")
    def test_missing_data(self, split: Call) -> None:
        check_refusal(split(data="nowhere.npz"), 3, "nowhere.npz")

    @pytest.mark.usefixtures("untouched")
    def test_an_unknown_sample(self, split: Call) -> None:
        check_refusal(split(data="sample:mars"), 3, "mars", "cifar10-test")

    def test_empty_data(self, split: Call, tmp_path: Path) -> None:
        path = write_pets_data(tmp_path / "empty.npz", x=np.zeros((0, 3, 8, 8), np.float32), y=np.zeros(0, np.int64))
        check_refusal(split(data=path), 1, "empty.npz", "holds nothing")
        assert not (tmp_path / "out").exists()

    def test_data_of_another_shape(self, split: Call, tmp_path: Path) -> None:
        path = write_pets_data(tmp_path / "large.npz", x=np.zeros((40, 3, 16, 16), np.float32))
        check_refusal(split(data=path), 1, "[3, 16, 16]", "[3, 8, 8]")

    def test_data_in_another_range(self, split: Call, tmp_path: Path) -> None:
        path = write_pets_data(tmp_path / "bright.npz", x=np.full((40, 3, 8, 8), 255, np.float32))
        check_refusal(split(data=path), 1, "255", "0 to 1")

    def test_unlabelled_data_with_nothing_to_validate_on(self, split: Call, tmp_path: Path) -> None:
        path = tmp_path / "plain.npz"
        np.savez(path, x=np.zeros((40, 3, 8, 8), np.float32))
        check_refusal(split(data=path), 1, "no labels")

    def test_unlabelled_validation_data(self, split: Call, tmp_path: Path) -> None:
        path = tmp_path / "plain.npz"
        np.savez(path, x=np.zeros((40, 3, 8, 8), np.float32))
        check_refusal(split("--validation", path), 1, "no labels")

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (("--classes", "cat,unicorn"), 2, "there is no class 'unicorn'; the classes are cat, dog"),
            (("--method", "guessing"), 2, "there is no method 'guessing'; the methods are cnnsplitter, gradsplitter"),
            (("--cut", "nowhere"), 1, "nowhere"),
            (("--device", "abacus"), 2, "torch cannot compute on 'abacus' here"),
            (("--recipe", "magic"), 2, "--recipe"),
            (("--budget", "soon"), 2, "expected a duration like 90s, 10m or 2h, got 'soon'"),
            (("--budget", "0s"), 2, "expected a duration"),
            (("--budget", "-5m"), 2, "expected a duration"),
            (("--budget", ""), 2, "expected a duration"),
            (("--keep", "0"), 2, "--keep"),
            (("--keep", "1.5"), 2, "--keep"),
            (("--max-loss", "-1"), 2, "--max-loss"),
            (("--steps", "0"), 2, "--steps"),
            (("--seed", "-1"), 2, "--seed"),
            (("--form", "quantum"), 2, "--form"),
            (("--version", "one"), 2, "--version"),
            (("--license", "free beer"), 2, "--license"),
            (("--class-names", "nowhere.txt"), 3, "nowhere.txt"),
        ],
    )
    @pytest.mark.usefixtures("untouched")
    def test_options_that_mean_nothing(self, split: Call, words: tuple[str, ...], code: int, message: str) -> None:
        check_refusal(split(*words), code, message)

    def test_more_class_names_than_classes(self, split: Call, tmp_path: Path) -> None:
        (tmp_path / "names.txt").write_text("\n".join([*CLASSES, "fish"]), encoding="utf-8")
        check_refusal(split("--class-names", "names.txt"), 2, "5 class names", "4 classes")

    def test_class_names_that_are_no_text(self, split: Call, tmp_path: Path) -> None:
        (tmp_path / "names.txt").write_bytes(b"\xff\xfe\xfa")
        check_refusal(split("--class-names", "names.txt"), 1, "names.txt", "UTF-8")

    def test_a_target_that_is_there(self, split: Call, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("precious", encoding="utf-8")
        check_refusal(split(), 2, "out is there already")
        assert (tmp_path / "out" / "mine.txt").read_text(encoding="utf-8") == "precious"

    def test_a_target_below_a_file(self, call: Call, model: Path, data: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("", encoding="utf-8")
        check_refusal(call("decompose", model, "--data", data, "-o", "file/out"), 5, "file/out")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_target_that_may_not_be_written(self, call: Call, model: Path, data: Path, tmp_path: Path) -> None:
        (tmp_path / "locked").mkdir(mode=0o500)
        check_refusal(call("decompose", model, "--data", data, "-o", "locked/out"), 5, "may not be written")


class TestPackages:
    """What can be wrong with packages on disk and in registries."""

    def test_a_corrupt_package(self, call: Call, tmp_path: Path) -> None:
        folder = flow.write_collection(pets_packages(), tmp_path / "split")
        (folder / "cat/1.0.0/delta.safetensors").write_bytes(b"nonsense")
        for words in (("check", folder), ("publish", folder, "--to", "./modules"), ("compose", folder, "-o", "out")):
            check_refusal(call(*words), 1, "cat/1.0.0/delta.safetensors")
        assert {path.name for path in tmp_path.iterdir()} == {"split"}

    @pytest.mark.usefixtures("untouched")
    def test_nothing_there(self, call: Call) -> None:
        check_refusal(call("check", "nowhere"), 3, "nowhere")
        check_refusal(call("compose", "./nowhere", "-o", "out"), 3, "nowhere")
        check_refusal(call("run", "nowhere", "sample:cifar10-test"), 3, "nowhere")

    def test_a_version_that_is_taken(self, call: Call, registry: Path, tmp_path: Path) -> None:
        other = flow.write_collection(pets_packages(seed=7), tmp_path / "other")
        answer = call("publish", other, "--to", registry, "--name", COLLECTION)
        check_refusal(answer, 1, "1.0.0", "give the new content a new version")

    def test_a_collection_without_an_owner(self, call: Call, collection: Path, tmp_path: Path) -> None:
        check_refusal(call("publish", collection, "--to", "./modules", "--name", "pets"), 1, "pets")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("command", ["search", "info", "resolve", "install", "compose"])
    @pytest.mark.usefixtures("untouched")
    def test_an_unknown_registry(self, call: Call, command: str) -> None:
        words = [command, COLLECTION + "/cat", *(["-o", "out"] if command == "compose" else [])]
        check_refusal(call(*words, "-r", "gopher://example.com"), 2, "gopher://example.com", "is no registry")
        check_refusal(call(*words, "-r", "./missing"), 3, "there is no registry './missing'")

    @pytest.mark.usefixtures("untouched")
    def test_a_request_that_nothing_satisfies(self, call: Call, registry: Path) -> None:
        for words in (("resolve",), ("install",), ("compose", "-o", "out")):
            answer = call(*words, "acme/pets/cat==1.0.0", "acme/pets/dog==1.1.0", "-r", registry)
            check_refusal(answer, 1, "cannot combine acme/pets/cat==1.0.0 with acme/pets/dog==1.1.0", "try:")
        check_refusal(call("resolve", "class:unicorn", "-r", registry), 1, "nothing satisfies class:unicorn")

    @pytest.mark.usefixtures("untouched")
    def test_a_requirement_that_is_none(self, call: Call, registry: Path) -> None:
        for command in ("resolve", "install"):
            check_refusal(call(command, "cat", "-r", registry), 2, "cat", "owner/collection/name")
            check_refusal(call(command, "./cat", "-r", registry), 2, "./cat is a path")

    def test_info_on_what_is_not_there(self, call: Call, registry: Path) -> None:
        check_refusal(call("info", "acme/pets/unicorn", "-r", registry), 3, "no package 'unicorn'; it has base, bird")
        check_refusal(call("info", "acme/plants", "-r", registry), 3, "no collection acme/plants")

    @pytest.mark.parametrize("text", ["", "lock-version = '1'", "no toml", "lock-version = '9'\n"])
    def test_a_bad_lock(self, call: Call, tmp_path: Path, text: str) -> None:
        (tmp_path / "modhub.lock").write_text(text, encoding="utf-8")
        check_refusal(call("install", "--locked"), 1, "modhub.lock")
        check_refusal(call("compose", "modhub.lock", "-o", "out"), 1, "modhub.lock")
        assert (tmp_path / "modhub.lock").read_text(encoding="utf-8") == text
        assert not (tmp_path / "out").exists()

    @pytest.mark.usefixtures("untouched")
    def test_install_needs_something_to_install(self, call: Call) -> None:
        check_refusal(call("install"), 2, "Say what to install")
        check_refusal(call("install", "--locked"), 3, "modhub.lock")

    def test_locked_and_requirements_exclude_each_other(self, call: Call, registry: Path) -> None:
        call("install", "class:cat", "-r", registry)
        check_refusal(call("install", "--locked", "class:dog"), 2, "leave the requirements out")

    def test_bytes_that_are_not_the_ones_locked(self, call: Call, registry: Path, tmp_path: Path) -> None:
        call("install", "acme/pets/cat", "-r", registry, "--store", "store")
        lock = tmp_path / "modhub.lock"
        digest = next(line for line in lock.read_text("utf-8").splitlines() if line.startswith("sha256"))
        lock.write_text(lock.read_text("utf-8").replace(digest, f'sha256 = "{"0" * 64}"'), encoding="utf-8")
        check_refusal(call("install", "--locked", "--store", "empty"), 4, "Do not use these bytes")

    def test_modules_that_do_not_fit_together(self, call: Call, collection: Path, tmp_path: Path) -> None:
        wide = pets_packages(network=pets_network(size=16))
        flow.write_collection(wide, tmp_path / "wide")
        answer = call("compose", collection / "cat/1.0.0", "./wide/dog/1.0.0", "-o", "out")
        check_refusal(answer, 1, "take different inputs")
        check_refusal(call("compose", collection, collection, "-o", "out"), 1, "both score the class 'cat'")
        assert not (tmp_path / "out").exists()

    def test_compose_never_writes_into_a_folder_that_is_there(
        self, call: Call, collection: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        assert call("compose", collection, "-o", "out").code == 0
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        check_refusal(call("compose", collection / "cat/1.0.0", "-o", "out"), 2, "out is there already")
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before

    def test_a_disk_that_fills_up(self, call: Call, collection: Path, tmp_path: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
        try:
            answers = [
                call("compose", collection, "-o", "out"),
                call("publish", collection, "--to", "./modules", "--store", "store"),
            ]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        for answer in answers:
            check_refusal(answer, 5, "cannot write", "too large", "run the same command again")
        assert not (tmp_path / "out").exists()
        assert call("publish", collection, "--to", "./modules").code == 0
        assert call("search", "cat", "-r", "./modules").code == 0


class TestEvaluate:
    """What can be wrong with what is measured."""

    def test_unlabelled_data(self, call: Call, model: Path, tmp_path: Path) -> None:
        np.savez(tmp_path / "plain.npz", x=np.zeros((4, 3, 8, 8), np.float32))
        check_refusal(call("evaluate", model, "--data", "plain.npz"), 1, "no labels")

    def test_data_without_the_class(self, call: Call, collection: Path, tmp_path: Path) -> None:
        write_pets_data(tmp_path / "plants.npz", classes=np.array(["oak", "elm", "fir", "yew"]))
        answer = call("evaluate", collection / "cat/1.0.0", "--data", "plants.npz")
        check_refusal(answer, 1, "'cat' is not among oak, elm, fir, yew")

    def test_images_of_another_size(self, call: Call, collection: Path) -> None:
        answer = call("run", collection / "cat/1.0.0", "sample:cifar10-test")
        check_refusal(answer, 1, "[3, 32, 32]", "[3, 8, 8]")


def test_a_command_that_does_not_exist_is_told_what_might_be_meant(call: Call) -> None:
    check_refusal(call("serch"), 2, "Did you mean 'search'?")
