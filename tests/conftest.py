"""What holds for every test: a home of its own, and Hypothesis without a clock."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.figures import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]

# Machines differ in speed, and a test is no benchmark. In CI the same examples come every time.
settings.register_profile("modhub", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("modhub")


def pytest_configure(config: pytest.Config) -> None:
    """Give the Hub's client a cache of its own, once: it reads this setting when it is imported."""
    cache = tempfile.TemporaryDirectory(prefix="modhub-tests-")
    config.add_cleanup(cache.cleanup)
    os.environ["HF_HOME"] = cache.name


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and caches of the person who runs the tests out of each test."""
    for name in [name for name in os.environ if name.startswith("MODHUB_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data and networks; its README says where each comes from."""
    return Path(__file__).parent / "data"
