"""A look at protobuf bytes before the library decodes them.

The library keeps fields it does not know, merges a message that occurs twice, gives bytes for a text that is no UTF-8,
and for millions of empty messages takes a hundred times the file's size of memory. What passes here holds each field at
most as often as its definition says, and as what it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import FormatError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
DEPTH = 16
"""Nesting of messages. An attribute's numbers lie three levels below the model."""

TEXT = 9
TEXT_OR_MESSAGE = frozenset({9, 11, 12})
WIRE_TYPES = {1: EIGHT_BYTES, 2: FOUR_BYTES, 6: EIGHT_BYTES, 7: FOUR_BYTES, 15: FOUR_BYTES, 16: EIGHT_BYTES}
"""How scalars are written, by their declared type; those not listed are varints."""


def check_message(data: bytes, message: type[Message], *, limit: int) -> None:
    """Check that bytes are one message of a type, with at most `limit` fields at all depths.

    Raises:
        FormatError: a field is unknown, of another type, no text, or occurs twice; there are too many fields, or the
            bytes end too early.
    """
    root: Descriptor = message.DESCRIPTOR  # type: ignore[assignment]  # The stubs name a second class, too.
    pending = [(root, 0, len(data), 1)]
    count = 0
    while pending:
        descriptor, position, end, depth = pending.pop()
        if depth > DEPTH:
            raise FormatError(f"is nested deeper than {DEPTH} messages")
        seen: set[int] = set()
        while position < end:
            count += 1
            if count > limit:
                raise FormatError(f"has more than {limit} fields")
            key, position = _varint(data, position, end)
            field = _field(descriptor, key, seen)
            start, position = _span(data, position, end, key & 7)
            if field.type == TEXT and not _is_text(data[start:position]):
                raise FormatError(f"has a text that is no UTF-8 as the field {field.name} in {descriptor.name}")
            if field.message_type is not None:
                pending.append((field.message_type, start, position, depth + 1))


def _field(message: Descriptor, key: int, seen: set[int]) -> FieldDescriptor:
    """Return the field that a key stands for."""
    number, wire = key >> 3, key & 7
    field = message.fields_by_number.get(number)
    if field is None:
        raise FormatError(f"has a field {number} in {message.name}, which ONNX does not define")
    expected = LENGTH if field.type in TEXT_OR_MESSAGE else WIRE_TYPES.get(field.type, VARINT)
    is_packed = wire == LENGTH and field.is_repeated and field.type not in TEXT_OR_MESSAGE
    if wire != expected and not is_packed:
        raise FormatError(f"has the field {field.name} in {message.name} as another type")
    if number in seen and not field.is_repeated:
        raise FormatError(f"has the field {field.name} twice in one {message.name}")
    seen.add(number)
    return field


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _span(data: bytes, position: int, end: int, wire: int) -> tuple[int, int]:
    """Return where a value begins and ends."""
    if wire == LENGTH:
        length, position = _varint(data, position, end)
    elif wire == VARINT:
        _, after = _varint(data, position, end)
        length = after - position
    else:
        length = 8 if wire == EIGHT_BYTES else 4
    if position + length > end:
        raise FormatError("is no ONNX model: it ends inside a field")
    return position, position + length


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise FormatError("is no ONNX model: a number in it has no end")
