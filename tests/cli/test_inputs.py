"""Tokens, tables and sounds from the command line: split, composed, measured and run like images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.onnx_graphs import floats, ints, onnx_bytes
from tests.support.torch_models import CLASSES, LENGTH, VOCABULARY, exported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modhub.network.network import Array
    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]

SAMPLES = 30
FRAMES = """(float[N, 6, 4] x) => (float[N, 3] y) {
    steps = Transpose<perm = [1, 0, 2]>(x)
    states, last = GRU<hidden_size = 8>(steps, w, r, b)
    flat = Squeeze(last, zero)
    y = Gemm<transB = 1>(flat, v, c)
}"""
TABLE = """(float[N, 5] x) => (float[N, 3] y) {
    hidden = Gemm<transB = 1>(x, w, b)
    bent = Relu(hidden)
    y = Gemm<transB = 1>(bent, v, c)
}"""


def write_table(path: Path, x: Array, names: tuple[str, ...]) -> Path:
    """Write samples and the names of their classes as a comma-separated table."""
    rows = [",".join([*(f"{value:g}" for value in row), names[i % len(names)]]) for i, row in enumerate(x)]
    path.write_text("\n".join([",".join([f"f{i}" for i in range(x.shape[1])] + ["label"]), *rows]), encoding="utf-8")
    return path


def check_story(call: Call, model: Path, data: Path, *, classes: int, method: str) -> None:
    """Split, check, compose, evaluate and run."""
    words = ("--method", method, "--steps", "2", "--keep", "0.6", "--align", "2", "--max-loss", "100")
    answer = call("decompose", model, "--data", data, "-o", "split", *words)
    assert answer.code == 0, answer.err
    assert call("check", "split").code == 0
    assert call("compose", "split", "-o", "joined").code == 0
    evaluated = call("evaluate", "joined", "--data", data, "--json")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json["samples"] == SAMPLES
    answers = call("run", "joined", data, "--json").json
    assert len(answers) == SAMPLES
    assert all(np.isfinite(score["score"]) for found in answers for score in found["scores"])
    assert len(answers[0]["scores"]) == classes


@pytest.mark.parametrize("method", ["saliency", "gradsplitter"])
def test_a_table_of_token_ids(call: Call, method: str, tmp_path: Path) -> None:
    (tmp_path / "gru.onnx").write_bytes(exported("GRU", dynamo=False, opset=17))
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (SAMPLES, LENGTH))
    data = write_table(tmp_path / "tokens.csv", ids, ("ask", "book", "call", "pay", "tell"))
    check_story(call, tmp_path / "gru.onnx", data, classes=CLASSES, method=method)


def test_token_ids_beyond_the_vocabulary_are_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "lstm.onnx").write_bytes(exported("LSTM", dynamo=False, opset=17))
    ids = np.full((SAMPLES, LENGTH), VOCABULARY)
    np.savez(tmp_path / "tokens.npz", x=ids, y=np.arange(SAMPLES) % CLASSES)
    answer = call("decompose", "lstm.onnx", "--data", "tokens.npz", "-o", "split")
    assert answer.code != 0
    assert f"tokens run from {VOCABULARY} to {VOCABULARY}, the network knows 0 to {VOCABULARY - 1}" in answer.err
    answer = call("run", "lstm.onnx", "tokens.npz")
    assert answer.code != 0
    assert "the network knows 0 to" in answer.err


def test_a_table_of_whole_numbers_for_a_network_of_features(call: Call, tmp_path: Path) -> None:
    graph = onnx_bytes(TABLE, w=floats(8, 5), b=floats(8), v=floats(3, 8), c=floats(3))
    (tmp_path / "table.onnx").write_bytes(graph)
    x = np.random.default_rng(0).integers(-5, 5, (SAMPLES, 5))
    data = write_table(tmp_path / "flowers.csv", x, ("aster", "lily", "rose"))
    check_story(call, tmp_path / "table.onnx", data, classes=3, method="saliency")
    np.savez(tmp_path / "flowers.npz", x=x, y=np.arange(SAMPLES) % 3)
    assert call("run", "table.onnx", "flowers.npz").code == 0


@pytest.mark.parametrize("method", ["saliency", "gradsplitter"])
def test_frames_of_sound(call: Call, method: str, tmp_path: Path) -> None:
    cell = onnx_bytes(
        FRAMES, w=floats(1, 24, 4), r=floats(1, 24, 8), b=floats(1, 48), v=floats(3, 8), c=floats(3), zero=ints(0)
    )
    (tmp_path / "words.onnx").write_bytes(cell)
    np.savez(tmp_path / "words.npz", x=floats(SAMPLES, 6, 4), y=np.arange(SAMPLES) % 3)
    check_story(call, tmp_path / "words.onnx", tmp_path / "words.npz", classes=3, method=method)


def test_there_are_no_mirror_images_of_text(call: Call, tmp_path: Path) -> None:
    (tmp_path / "lstm.onnx").write_bytes(exported("LSTM", dynamo=False, opset=17))
    np.savez(tmp_path / "tokens.npz", x=np.ones((SAMPLES, LENGTH), np.int64), y=np.arange(SAMPLES) % CLASSES)
    answer = call("decompose", "lstm.onnx", "--data", "tokens.npz", "-o", "split", "--flip")
    assert answer.code == 2
    assert "there are no mirror images of tokens" in answer.err


def test_normalised_images_are_taken_as_they_are(call: Call, model: Path, data: Path) -> None:
    words = ("--method", "saliency", "--keep", "0.9", "-o", "split")
    assert call("decompose", model, "--data", data, "--mean", "0.5", "--std", "0.2,0.2,0.2", *words).code == 0
    assert call("check", "split").code == 0
    base = call("run", "split/base/1.0.0", data)
    assert base.code == 0, base.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--mean", "0.5"), "--mean and --std go together"),
        (("--mean", "0.5,0.5", "--std", "1"), "the mean of images with 3 channels is 3 numbers, not 2"),
        (("--mean", "0.5", "--std", "0"), "standard deviations are positive, got 0"),
        (("--mean", "half", "--std", "1"), "--mean: expected numbers like 0.49,0.48,0.45, got 'half'"),
    ],
)
def test_a_normalisation_that_does_not_fit_is_refused(
    call: Call, model: Path, data: Path, words: tuple[str, ...], message: str
) -> None:
    answer = call("decompose", model, "--data", data, "-o", "split", *words)
    assert answer.code == 2
    assert message in " ".join(answer.err.split())
