"""Unfinished work: kept whole, gone on with, never taken for other work."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from modhub import flow
from modhub.datasets import load_dataset
from modhub.decomposers.checkpoint import (
    ARRAY_FILES,
    STATE_FILE,
    Checkpoint,
    State,
    optimiser_state,
    restore_optimiser,
)
from modhub.decomposers.clock import Clock
from modhub.decomposers.cnnsplitter import paper as cnnsplitter_paper
from modhub.decomposers.cnnsplitter.paper import Numbers
from modhub.decomposers.gradsplitter import paper as gradsplitter_paper
from modhub.decomposers.gradsplitter.paper import Schedule
from modhub.decomposers.options import Options, silent
from modhub.decomposers.unfinished import keep_unfinished
from modhub.errors import FormatError, IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modhub.decomposers.options import Progress
    from modhub.network.modules import Decomposition

STATE = State(values={"step": 3, "loss": 0.1}, arrays={"a": torch.arange(5.0), "b": torch.ones(2, 2, dtype=torch.bool)})


def saved(folder: Path, state: State = STATE, *, subject: dict[str, object] | None = None) -> Checkpoint:
    checkpoint = Checkpoint(folder, subject=subject or {"method": "m", "classes": (1, 2)}, cost=1)
    assert checkpoint.save(lambda: state)
    return checkpoint


def test_what_was_saved_comes_back_to_the_bit(tmp_path: Path) -> None:
    saved(tmp_path / "w")
    found = Checkpoint(tmp_path / "w").load()
    assert found is not None
    assert found.values == STATE.values
    assert all(torch.equal(found.arrays[name], STATE.arrays[name]) for name in STATE.arrays)


def test_the_newest_state_counts_and_the_one_before_is_written_over(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    for step in range(4, 9):
        checkpoint.save(lambda step=step: State(values={"step": step}))  # type: ignore[misc]
        found = Checkpoint(tmp_path).load()
        assert found is not None
        assert found.values == {"step": step}
    assert {path.name for path in tmp_path.iterdir()} == {STATE_FILE, *ARRAY_FILES}


def test_a_writer_killed_between_arrays_and_state_leaves_the_state_before(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    first = (tmp_path / STATE_FILE).read_bytes()
    checkpoint.save(lambda: State(values={"step": 4}, arrays={"a": torch.zeros(9)}))
    (tmp_path / STATE_FILE).write_bytes(first)
    found = Checkpoint(tmp_path).load()
    assert found is not None
    assert found.values["step"] == 3


def test_without_a_folder_nothing_is_kept() -> None:
    checkpoint = Checkpoint()
    assert not checkpoint.save(lambda: pytest.fail("nobody should ask for the state"))
    assert checkpoint.load() is None
    checkpoint.check(resume=False)
    checkpoint.remove()


def test_states_are_not_written_more_often_than_they_may_cost(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "w", cost=1e-9)
    assert checkpoint.save(lambda: STATE)
    assert not checkpoint.save(lambda: pytest.fail("too early"))


def test_work_is_not_begun_anew_over_unfinished_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds the unfinished work"):
        saved(tmp_path).check(resume=False)


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ({"method": "other", "classes": (1, 2)}, "method was 'm', is 'other'"),
        ({"method": "m", "classes": (1, 3)}, r"classes was \[1, 2\], is \[1, 3\]"),
        ({"method": "m"}, r"classes was \[1, 2\], is not said"),
    ],
)
def test_other_work_is_refused_by_name(tmp_path: Path, subject: dict[str, object], message: str) -> None:
    saved(tmp_path)
    with pytest.raises(UsageError, match=message):
        Checkpoint(tmp_path, subject=subject).check(resume=True)


def test_the_same_work_may_go_on(tmp_path: Path) -> None:
    saved(tmp_path).check(resume=True)


def test_damage_is_found(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / ARRAY_FILES[0]).write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="is not the file"):
        Checkpoint(tmp_path).load()
    (tmp_path / ARRAY_FILES[0]).unlink()
    with pytest.raises(FormatError, match="is missing"):
        Checkpoint(tmp_path).load()
    document = json.loads((tmp_path / STATE_FILE).read_text())
    (tmp_path / STATE_FILE).write_text(json.dumps({**document, "arrays": "../../etc/passwd"}))
    with pytest.raises(FormatError, match="no file of a checkpoint"):
        Checkpoint(tmp_path).load()
    (tmp_path / STATE_FILE).write_text(json.dumps({"format": document["format"]}))
    with pytest.raises(FormatError, match="lacks a field"):
        Checkpoint(tmp_path).load()
    (tmp_path / STATE_FILE).write_text("{}")
    with pytest.raises(FormatError, match="no checkpoint of the format"):
        Checkpoint(tmp_path).check(resume=True)
    (tmp_path / STATE_FILE).write_text("{")
    with pytest.raises(FormatError, match="no JSON"):
        Checkpoint(tmp_path).load()


def test_earlier_runs_count_for_the_budget(tmp_path: Path) -> None:
    saved(tmp_path)
    document = json.loads((tmp_path / STATE_FILE).read_text())
    (tmp_path / STATE_FILE).write_text(json.dumps({**document, "spent_s": 100.0}))
    checkpoint = Checkpoint(tmp_path)
    checkpoint.load()
    assert Clock(checkpoint, 99.0).is_over()
    assert not Clock(checkpoint, 1000.0).is_over()
    assert Clock(checkpoint, 1000.0).is_over(ahead_s=950.0)
    assert Clock(checkpoint, None).left_s(0.5) == pytest.approx(100.0, abs=5.0)
    assert Clock(checkpoint, 110.0).left_s(0.1) == pytest.approx(10.0, abs=5.0)
    assert Clock(checkpoint, None).left_s(0.0) is None


def test_an_optimiser_goes_on_as_if_nothing_had_happened() -> None:
    def begin() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
        return weight, torch.optim.Adam([weight], lr=0.1)

    def step(weight: torch.nn.Parameter, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        (weight**4).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    weight, optimiser = begin()
    for _ in range(3):
        step(weight, optimiser)
    state = State(arrays={"weight": weight.detach().clone(), **optimiser_state(optimiser)})
    step(weight, optimiser)
    other, again = begin()
    other.data.copy_(state.arrays["weight"])
    restore_optimiser(again, state)
    step(other, again)
    assert torch.equal(weight, other)


# Each run of a real process goes on where the one before was killed, until one ends.
WORK = """
import json, sys
from pathlib import Path
import torch
from tests.decomposers.test_checkpoint import fingerprint_of, split

torch.set_num_threads(1)
print(json.dumps(fingerprint_of(split(*sys.argv[1:4], Path(sys.argv[4]), Path(sys.argv[5])))), flush=True)
"""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, as the other process does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer epochs and smaller populations than the authors had."""
    schedule, numbers = (
        functools.partial(Schedule, cycles=2),
        functools.partial(Numbers, population=12, parents=6, elite=3),
    )
    numbers.generations = Numbers.generations  # type: ignore[attr-defined]
    monkeypatch.setattr(gradsplitter_paper, "Schedule", schedule)
    monkeypatch.setattr(cnnsplitter_paper, "Numbers", numbers)


def split(
    method: str, recipe: str, steps: str, data: Path, partial: Path | None, progress: Progress = silent
) -> Decomposition:
    """Return the modules of a real network, going on with what the folder holds; every state is written."""
    network = flow.load(data / "mnist-mlp1-panrajan.onnx")
    options = Options(recipe=recipe, steps=int(steps), keep=0.3, max_loss=100, seed=1)
    samples = load_dataset(data / "mnist-test-200.npz")
    train, held_out = samples.split(0.5)
    checkpoint = keep_unfinished(partial or data, network.network, train, held_out, method=method, options=options)
    checkpoint.cost = 1.0
    if partial is not None:
        checkpoint.check(resume=True)
        options = dataclasses.replace(options, checkpoint=checkpoint)
    return flow.decompose(network, train, validation=held_out, method=method, options=options, progress=progress)


def fingerprint_of(decomposition: Decomposition) -> list[str]:
    """Return everything that was learned, to the bit."""
    return [
        repr(
            (
                {site: kept.tolist() for site, kept in module.kept.items()},
                {name: (affine.scale.tobytes(), affine.offset.tobytes()) for name, affine in module.affine.items()},
                {name: flags.tobytes() for name, flags in module.weights.items()},
                [value.tobytes() for value in vars(module.head).values()] if hasattr(module.head, "first") else "own",
                module.calibration,
            )
        )
        for module in decomposition.modules
    ]


def killed(process: subprocess.Popen[str], partial: Path, states: int) -> bool:
    """Kill a process once it has written some more states; tell whether it was killed before its end."""
    seen: set[bytes] = set()
    while process.poll() is None and len(seen) < states:
        if (partial / STATE_FILE).is_file():
            seen.add((partial / STATE_FILE).read_bytes())
        time.sleep(0.002)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_process_can_be_resumed_and_gives_what_an_undisturbed_run_gives(
    data_folder: Path, tmp_path: Path
) -> None:
    case, partial = ("gradsplitter", "fast", "40"), tmp_path / "out.partial"
    words = [sys.executable, "-c", WORK, *case, str(data_folder), str(partial)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert killed(process, partial, 4)
    assert (partial / STATE_FILE).is_file()
    with one_thread():
        assert fingerprint_of(split(*case, data_folder, partial)) == fingerprint_of(split(*case, data_folder, None))


class Stopped(Exception):
    """Somebody stopped the work."""


@pytest.mark.parametrize("after", [2, 9])
@pytest.mark.parametrize(
    ("method", "recipe", "steps"),
    [
        ("gradsplitter", "fast", "20"),
        ("gradsplitter", "paper", "1"),
        ("cnnsplitter", "fast", "4"),
        ("cnnsplitter", "paper", "9"),
        ("weightmask", "fast", "40"),
        ("weightmask", "paper", "40"),
    ],
)
def test_stopped_anywhere_and_resumed_gives_what_an_undisturbed_run_gives(
    method: str, recipe: str, steps: str, after: int, data_folder: Path, tmp_path: Path, small: None
) -> None:
    del small
    told = []

    def stop(event: Mapping[str, object]) -> None:
        told.append(event)
        if len(told) == after + 2:
            raise Stopped

    case, partial = (method, recipe, steps), tmp_path / "out.partial"
    with one_thread():
        with pytest.raises(Stopped):
            split(*case, data_folder, partial, progress=stop)
        assert (partial / STATE_FILE).is_file()
        assert fingerprint_of(split(*case, data_folder, partial)) == fingerprint_of(split(*case, data_folder, None))


def test_a_checkpoint_of_other_data_or_options_is_refused(data_folder: Path, tmp_path: Path) -> None:
    network = flow.load(data_folder / "mnist-mlp1-panrajan.onnx")
    data = load_dataset(data_folder / "mnist-test-200.npz")
    options = Options(steps=2, keep=0.6, max_loss=100)
    flow.decompose(network, data, options=options, partial=tmp_path / "w")
    other = dataclasses.replace(data, values=np.ascontiguousarray(data.values[::-1]))
    with pytest.raises(UsageError, match="data was"):
        flow.decompose(network, other, options=options, partial=tmp_path / "w", resume=True)
    with pytest.raises(UsageError, match=r"keep was 0\.6, is 0\.5"):
        flow.decompose(
            network, data, options=dataclasses.replace(options, keep=0.5), partial=tmp_path / "w", resume=True
        )
    with pytest.raises(UsageError, match="method was 'gradsplitter', is 'cnnsplitter'"):
        flow.decompose(network, data, method="cnnsplitter", options=options, partial=tmp_path / "w", resume=True)
    with pytest.raises(UsageError, match="unfinished"):
        flow.decompose(network, data, options=options, partial=tmp_path / "w")
    more_time = dataclasses.replace(options, budget=1000.0)
    assert flow.decompose(network, data, options=more_time, partial=tmp_path / "w", resume=True).modules
