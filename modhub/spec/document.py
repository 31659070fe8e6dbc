"""JSON documents: strict bytes to values and back, and readers whose errors name the path.

A *reader* takes a JSON value and returns a typed one, or raises `FormatError`. Readers compose:
``list_of(FileRecord.from_dict)`` reads a list of file records, and a fault in it is reported as
``forms.delta[0].size: expected a non-negative integer, got -1``.

Three rules hold for every document: a key whose value would be none is not written; a key that this version
does not know is kept and written again; equal values give equal bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias, TypeVar, overload

from modhub.errors import FormatError
from modhub.spec import limits

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

T = TypeVar("T")
Reader: TypeAlias = Callable[[object], T]

# Control characters can drive a terminal, direction overrides can disguise a text, and lone surrogates cannot be
# encoded. None of them has a use in a one-line field.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SURROGATE = re.compile("[\ud800-\udfff]")
PLAIN_KEY = re.compile(r"[A-Za-z0-9_./:@-]{1,80}")


def parse_json(data: bytes, *, limit: int) -> JSON:
    """Return the value of a JSON document, read strictly.

    Raises:
        FormatError: more than `limit` bytes, not UTF-8, not JSON, a duplicate key, a number that is not finite or
            too large, a lone surrogate, or nesting beyond `limits.DOCUMENT_DEPTH`.
    """
    check_size(data, limit=limit)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_number,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except UnicodeDecodeError as error:
        raise FormatError(f"expected UTF-8, got byte 0x{data[error.start]:02x} at offset {error.start}") from error
    except RecursionError as error:
        raise _too_deep() from error
    except json.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error}") from error
    check_tree(value)
    return value  # type: ignore[no-any-return]


def format_json(document: Mapping[str, JSON]) -> bytes:
    """Return the canonical bytes of a document: sorted keys, two spaces, a newline at the end."""
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def check_size(data: bytes, *, limit: int) -> None:
    """Check the length of a document.

    Raises:
        FormatError: more than `limit` bytes.
    """
    if len(data) > limit:
        raise FormatError(f"expected at most {limit} bytes, got {len(data)}")


def check_tree(value: object) -> None:
    """Check that a parsed document is made of JSON values only, is not too deep, and can be encoded.

    Raises:
        FormatError: it is not.
    """
    pending: list[tuple[object, int]] = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > limits.DOCUMENT_DEPTH:
            raise _too_deep()
        if isinstance(node, dict):
            pending += [(key, depth) for key in node]
            pending += [(child, depth + 1) for child in node.values()]
        elif isinstance(node, list):
            pending += [(child, depth + 1) for child in node]
        else:
            _check_scalar(node)


def check_format(found: str, *, expected: str) -> None:
    """Check a format tag: the same format and major version; any minor version is read.

    Raises:
        FormatError: another format or major version; `where` is ``format``.
    """
    if not re.fullmatch(re.escape(expected) + r"(\.(0|[1-9][0-9]{0,5}))?", found):
        raise FormatError(f"expected {expected}, got {shown(found)}", where="format")


def shown(value: object) -> str:
    """Return a value as an error message shows it: in JSON's words, cut to 80 characters."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def text(value: object) -> str:
    """Read a text of one line, without control characters."""
    if not isinstance(value, str):
        raise FormatError(f"expected a string, got {shown(value)}")
    if len(value) > limits.TEXT_LENGTH:
        raise FormatError(f"expected at most {limits.TEXT_LENGTH} characters, got {len(value)}")
    if found := UNSAFE.search(value):
        raise FormatError(f"expected one line of plain text, got the character U+{ord(found[0]):04X}")
    return value


def integer(value: object) -> int:
    """Read an integer; `true` is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError(f"expected an integer, got {shown(value)}")
    return value


def natural(value: object) -> int:
    """Read an integer that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FormatError(f"expected a non-negative integer, got {shown(value)}")
    return value


def number(value: object) -> float:
    """Read a finite number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise FormatError(f"expected a finite number, got {shown(value)}")
    return float(value)


def flag(value: object) -> bool:
    """Read `true` or `false`."""
    if not isinstance(value, bool):
        raise FormatError(f"expected true or false, got {shown(value)}")
    return value


def anything(value: object) -> JSON:
    """Read any value, as it is."""
    return value  # type: ignore[return-value]


def one_of(*choices: str) -> Reader[str]:
    """Return a reader of a text out of a few."""

    def read(value: object) -> str:
        if value not in choices:
            raise FormatError(f"expected one of {', '.join(choices)}; got {shown(value)}")
        return str(value)

    return read


def list_of(read: Reader[T]) -> Reader[tuple[T, ...]]:
    """Return a reader of lists whose items `read` reads."""

    def read_list(value: object) -> tuple[T, ...]:
        if not isinstance(value, (list, tuple)):
            raise FormatError(f"expected a list, got {shown(value)}")
        return tuple(_at(f"[{position}]", read, item) for position, item in enumerate(value))

    return read_list


def table_of(read: Reader[T]) -> Reader[dict[str, T]]:
    """Return a reader of objects whose values `read` reads."""

    def read_table(value: object) -> dict[str, T]:
        if not isinstance(value, Mapping):
            raise FormatError(f"expected an object, got {shown(value)}")
        return {key: _at(key, read, item) for key, item in value.items()}

    return read_table


class Fields:
    """The keys of one object, taken one by one; what nobody took is the `rest`.

    Raises:
        FormatError: the value is no object.
    """

    def __init__(self, document: object) -> None:
        if not isinstance(document, Mapping):
            raise FormatError(f"expected an object, got {shown(document)}")
        self._left = dict(document)

    def required(self, key: str, read: Reader[T]) -> T:
        """Return the value of a key.

        Raises:
            FormatError: the key is absent or null, or `read` refuses its value.
        """
        value = self._left.pop(key, None)
        if value is None:
            raise FormatError("is missing", where=key)
        return _at(key, read, value)

    @overload
    def optional(self, key: str, read: Reader[T]) -> T | None: ...

    @overload
    def optional(self, key: str, read: Reader[T], default: T) -> T: ...

    def optional(self, key: str, read: Reader[T], default: T | None = None) -> T | None:
        """Return the value of a key, or `default` where it is absent or null.

        Raises:
            FormatError: `read` refuses the value.
        """
        value = self._left.pop(key, None)
        return default if value is None else _at(key, read, value)

    def rest(self) -> dict[str, JSON]:
        """Return the keys that were not taken, with their values."""
        return dict(self._left)


def merged(known: Mapping[str, Any], extra: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the object to write: the known keys that have a value, and the unknown ones as they were read."""
    return {**extra, **{key: value for key, value in known.items() if value is not None}}


@contextmanager
def inside(key: str) -> Iterator[None]:
    """Report a `FormatError` of the body as one of this key.

    Raises:
        FormatError: the body raised one; `where` starts with the key.
    """
    try:
        yield
    except FormatError as error:
        raise _under(error, key) from error.__cause__


def _at(key: str, read: Reader[T], value: object) -> T:
    # Written out, since a context manager a value would double the time to read a large index.
    try:
        return read(value)
    except FormatError as error:
        raise _under(error, key) from error.__cause__


def _under(error: FormatError, key: str) -> FormatError:
    plain = key.startswith("[") or PLAIN_KEY.fullmatch(key)
    return error.under(key if plain else shown(key))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        duplicate = next(key for key in keys if keys.count(key) > 1)
        raise FormatError(f"the key {shown(duplicate)} occurs twice in one object")
    return document


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse_number(digits)


def _bounded(digits: str) -> int:
    # The count comes first: int() refuses 5,000 digits with an error of its own.
    if len(digits) > 20 or abs(int(digits)) > limits.INTEGER_MAGNITUDE:
        _refuse_number(digits)
    return int(digits)


def _refuse_number(digits: str) -> NoReturn:
    raise FormatError(f"expected finite numbers and integers below 2**53, got {shown(digits)}")


def _check_scalar(value: object) -> None:
    if value is None or isinstance(value, (bool, int)):
        return
    if isinstance(value, float) and math.isfinite(value):
        return
    if not isinstance(value, str):
        raise FormatError(f"expected JSON values only, got {shown(value)}")
    if SURROGATE.search(value):
        raise FormatError(f"the text {shown(value)} holds a lone surrogate")


def _too_deep() -> FormatError:
    return FormatError(f"is nested deeper than {limits.DOCUMENT_DEPTH} levels")
