"""Every hostile package is refused for its own reason, in plain words, with little memory and time."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from modhub.errors import InvalidPackage
from modhub.package.verify import verify
from tests.support.corpus import Sample, samples

ROOT = Path(__file__).parents[2]
SAMPLES = samples()
MEMORY, SECONDS = 3 << 30, 120
"""Address space and processor time for the whole corpus. One function bomb alone would take minutes."""


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_a_hostile_package_is_refused_for_its_own_reason(sample: Sample) -> None:
    with pytest.raises(InvalidPackage) as caught:
        verify(sample.files, base=sample.base)
    told = [str(problem) for problem in caught.value.problems]
    assert any(sample.problem in line for line in told), told
    assert all(line.isprintable() and len(line) < 1000 for line in told), told


def test_the_corpus_is_large_and_names_nothing_twice() -> None:
    names = [sample.id for sample in SAMPLES]
    assert len(names) >= 200
    assert len(set(names)) == len(names)


def test_the_whole_corpus_is_refused_within_hard_limits_of_memory_and_time() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))

    done = subprocess.run(
        [sys.executable, "-m", "tests.support.corpus"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == len(SAMPLES)
