"""Input and output contracts."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given

from modhub.errors import FormatError
from modhub.spec.ports import Calibration, InputPort, OutputPort
from tests import strategies

IMAGE = InputPort(
    kind="image", dtype="float32", layout="NCHW", shape=("batch", 3, 32, 32), range=(0.0, 1.0), color="RGB"
)


@given(strategies.inputs)
def test_an_input_survives_the_round_trip(port: InputPort) -> None:
    assert InputPort.from_dict(port.to_dict()) == port


@given(strategies.outputs)
def test_an_output_survives_the_round_trip(port: OutputPort) -> None:
    assert OutputPort.from_dict(port.to_dict()) == port


@given(strategies.inputs, strategies.inputs)
def test_two_inputs_fit_exactly_when_they_differ_in_no_more_than_their_name(one: InputPort, other: InputPort) -> None:
    same = dataclasses.replace(one, name=other.name, extra=other.extra) == other
    assert (one.key() == other.key()) == same


def test_the_key_of_a_contract_never_changes() -> None:
    assert IMAGE.key() == "c6b88de37055d7d6e62075f3c5ec687bcb0a5c6a987e44859cc4a17173ca125b"
    assert dataclasses.replace(IMAGE, name="x", range=(0, 1), extra={"a": 1}).key() == IMAGE.key()


def test_a_contract_reads_as_words() -> None:
    assert str(IMAGE) == "image RGB NCHW [batch, 3, 32, 32] in 0..1"
    text = InputPort(name="tokens", kind="tokens", dtype="int64", shape=("batch", "length"), vocabulary=100)
    assert str(text) == "tokens [batch, length] of 100 tokens"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "video"}, "kind: expected one of image, tokens, features, audio; got 'video'"),
        ({"dtype": "float16"}, "dtype: expected float32 for image, got float16"),
        ({"layout": None}, "layout: an image of shape"),
        ({"layout": "CHW"}, "layout: expected one of NCHW, NHWC"),
        ({"shape": [1, 3, 32, 32]}, "shape: expected 1 to 8 axes with 'batch' first"),
        ({"shape": ["batch", 3, 0, 32]}, r"shape\[2\]: expected a name or a positive length, got 0"),
        ({"shape": ["batch", 3, "a b", 32]}, r"shape\[2\]: expected a name"),
        ({"range": [1, 0]}, "range: expected the lowest value before the highest"),
        ({"range": [1]}, "range: expected two numbers, got 1"),
        ({"tokenizer": "bert"}, "tokenizer: expected 64"),
        ({"name": "a b"}, "name: the array name 'a b' is not"),
    ],
)
def test_a_bad_input_names_the_field(change: dict[str, object], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        InputPort.from_dict(IMAGE.to_dict() | change)


def test_an_output_of_another_meaning_or_type_is_refused() -> None:
    with pytest.raises(FormatError, match="semantic: expected one of logit, logits, scores"):
        OutputPort(name="score", shape=("batch", 1), semantic="probability")
    with pytest.raises(FormatError, match="dtype: expected float32, got 'float16'"):
        OutputPort(name="score", dtype="float16", shape=("batch", 1), semantic="logit")
    with pytest.raises(FormatError, match="method: expected platt"):
        Calibration(method="isotonic", scale=1.0, offset=0.0, data="x")
