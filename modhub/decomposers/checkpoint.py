"""Unfinished work on disk, so that a search that was killed goes on where it was.

    saved = checkpoint.load()                       # None at the first run
    ...
    checkpoint.save(lambda: State(values={"step": step}, arrays={"latents": latents}))

A search calls `save` as often as it likes, at places where it can go on from; the state is only asked for and written
when enough time has gone by that writing costs a few percent. What goes on from a state must do what the first run
would have done: everything random is drawn from seeds made of the run's seed and a position, never from a generator
that lives on.

The folder holds ``state.json``, which names its work and one of two files of arrays. The arrays are written first, over
those that no ``state.json`` names any more, so whenever a writer is killed there is one whole state.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from modhub import fsops
from modhub.errors import FormatError, IntegrityError, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FORMAT = "modhub/checkpoint@1"
STATE_FILE = "state.json"
ARRAY_FILES = ("arrays-0.safetensors", "arrays-1.safetensors")
STATE_BYTES = 64 << 20
ARRAY_BYTES = 16 << 30
COST = 0.03
"""Share of the time that writing may take."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a search is: plain values as JSON can hold them, and tensors by name."""

    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors below a prefix, by the rest of their names."""
        return {name.removeprefix(prefix): value for name, value in self.arrays.items() if name.startswith(prefix)}


class Checkpoint:
    """The state of one search in a folder; without a folder, nothing is kept.

    Args:
        folder: where the state lies; made when the first one is written.
        subject: what the work is about, by name: method, options, digests of network and data.
        cost: share of the time that writing may take; 1 or more writes every time.
    """

    def __init__(
        self, folder: Path | None = None, *, subject: Mapping[str, Any] | None = None, cost: float = COST
    ) -> None:
        self.folder, self.cost = folder, cost
        # As it will be read again: JSON knows no tuples.
        self.subject: dict[str, Any] = json.loads(json.dumps(dict(subject or {})))
        self._begun = time.monotonic()
        self._earlier_s = 0.0
        self._slot = 0
        self._written = self._begun
        self._took_s = 0.0

    @property
    def spent_s(self) -> float:
        """Seconds that the work has taken, those of earlier runs that were saved among them."""
        return self._earlier_s + time.monotonic() - self._begun

    @property
    def exists(self) -> bool:
        """Whether there is a state to go on from."""
        return self.folder is not None and (self.folder / STATE_FILE).is_file()

    def check(self, *, resume: bool) -> None:
        """Check that the work may begin, or go on.

        Raises:
            UsageError: there is unfinished work and nobody asked to go on with it, or it is about something else; says
                what differs.
            FormatError: the state is damaged.
        """
        if not self.exists:
            return
        if not resume:
            raise UsageError(
                f"{self.folder} holds the unfinished work of an earlier run: resume it, or delete the folder"
            )
        found = self._document().get("subject", {})
        differences = [
            f"{name} was {_shown(found.get(name))}, is {_shown(self.subject.get(name))}"
            for name in dict.fromkeys([*found, *self.subject])
            if found.get(name) != self.subject.get(name)
        ]
        if differences:
            raise UsageError(f"{self.folder} holds other unfinished work: {'; '.join(differences)}")

    def load(self) -> State | None:
        """Return the state that was saved last, None where there is none.

        Raises:
            FormatError: the state is damaged.
            IntegrityError: the arrays are not the ones that belong to it.
        """
        if self.folder is None or not self.exists:
            return None
        document = self._document()
        try:
            name, digest, values = document["arrays"], document["sha256"], document["values"]
            spent = float(document["spent_s"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError("lacks a field of a checkpoint", file=str(self.folder / STATE_FILE)) from error
        if name not in ARRAY_FILES:
            raise FormatError(f"names arrays {name!r}, which is no file of a checkpoint", file=str(self.folder))
        try:
            data = fsops.read_file(self.folder / name, limit=ARRAY_BYTES)
        except NotFound as error:
            raise FormatError(f"{name} is missing", file=str(self.folder)) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise IntegrityError(f"{self.folder / name} is not the file that {STATE_FILE} names")
        try:
            arrays = safetensors.torch.load(data)
        except safetensors.SafetensorError as error:
            raise FormatError(f"is no safetensors file: {error}", file=str(self.folder / name)) from error
        self._earlier_s, self._begun = spent, time.monotonic()
        self._slot = 1 - ARRAY_FILES.index(name)
        return State(values=values, arrays=arrays)

    def save(self, state: Callable[[], State]) -> bool:
        """Write the state if enough time has gone by since the last one; tell whether it was written.

        Raises:
            StorageError: the disk refuses.
        """
        begun = time.monotonic()
        if self.folder is None or (begun - self._written) * self.cost < self._took_s:
            return False
        self._write(self.folder, state())
        self._written = time.monotonic()
        self._took_s = self._written - begun if self.cost < 1 else 0.0
        return True

    def remove(self) -> None:
        """Delete the state, once the work is done and its result is safe.

        Raises:
            StorageError: the disk refuses.
        """
        if self.folder is not None:
            fsops.remove(self.folder)

    def _write(self, folder: Path, state: State) -> None:
        arrays = {name: value.detach().cpu().contiguous().clone() for name, value in state.arrays.items()}
        data = safetensors.torch.save(arrays)
        document = {
            "format": FORMAT,
            "subject": self.subject,
            "spent_s": self.spent_s,
            "arrays": ARRAY_FILES[self._slot],
            "sha256": hashlib.sha256(data).hexdigest(),
            "values": dict(state.values),
        }
        fsops.make_folder(folder)
        fsops.replace_file(folder / ARRAY_FILES[self._slot], data)
        fsops.replace_file(folder / STATE_FILE, (json.dumps(document) + "\n").encode())
        self._slot = 1 - self._slot

    def _document(self) -> dict[str, Any]:
        if self.folder is None:
            return {}
        path = self.folder / STATE_FILE
        try:
            document = json.loads(fsops.read_file(path, limit=STATE_BYTES))
        except ValueError as error:
            raise FormatError("is no JSON", file=str(path)) from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise FormatError(f"is no checkpoint of the format {FORMAT!r}", file=str(path))
        return document


def optimiser_state(optimiser: torch.optim.Optimizer, prefix: str = "optimiser/") -> dict[str, torch.Tensor]:
    """Return what an optimiser remembers as tensors by name; its rates are not among them."""
    remembered = optimiser.state_dict()["state"]
    return {
        f"{prefix}{number}/{name}": torch.as_tensor(value).detach().clone()
        for number, entries in remembered.items()
        for name, value in entries.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, state: State, prefix: str = "optimiser/") -> None:
    """Give an optimiser over the same parameters what `optimiser_state` returned."""
    whole = optimiser.state_dict()
    remembered: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in state.under(prefix).items():
        number, _, name = key.partition("/")
        remembered.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({**whole, "state": remembered})


def _shown(value: object) -> str:
    text = "not said" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:20]}...{text[-3:]}"
