"""Defaults from a file and from variables; what is typed wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write the settings file."""

    def written(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setenv("MODHUB_CONFIG", str(path))
        return path

    return written


def test_a_shared_option_holds_for_every_command_that_has_it(
    call: Call, configure: Callable[[str], Path], registry: Path
) -> None:
    configure(f'registry = "{registry}"\n')
    assert call("search", "cat").code == 0
    assert call("info", "acme/pets").code == 0
    assert call("check", "nowhere").code == 3


def test_an_option_of_one_command_goes_by_its_long_name(
    call: Call, configure: Callable[[str], Path], registry: Path
) -> None:
    configure(f'[search]\nregistry = ["{registry}"]\nkind = "base"\njson = true\n')
    assert [hit["name"] for hit in call("search").json] == ["acme/pets/base"]
    assert call("search", "--kind", "module").json[0]["kind"] == "module"


def test_a_registry_may_have_a_name(call: Call, configure: Callable[[str], Path], collection: Path) -> None:
    configure('[registries]\nwork = "./modules"\n[publish]\nto = "work"\n')
    assert call("publish", collection).code == 0
    assert call("search", "cat", "-r", "work").code == 0


def test_variables_win_over_the_file_and_words_over_both(
    call: Call, configure: Callable[[str], Path], registry: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    configure('registry = "./empty"\n')
    assert call("search", "cat").code == 1
    monkeypatch.setenv("MODHUB_REGISTRY", str(registry))
    assert call("search", "cat").code == 0
    assert call("search", "cat", "-r", "./empty").code == 1


def test_every_option_has_a_variable(
    call: Call, monkeypatch: pytest.MonkeyPatch, registry: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODHUB_SEARCH_KIND", "base")
    monkeypatch.setenv("MODHUB_STORE", str(tmp_path / "kept"))
    assert len(call("search", "-r", registry, "--json").json) == 1
    assert (tmp_path / "kept").is_dir()
    monkeypatch.setenv("MODHUB_QUIET", "1")
    assert call("search", "unicorn", "-r", registry).err == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("registry = ", "cannot be read"),
        ("colour = 1", "'colour' is neither a command nor one of"),
        ("[serach]\nkind = 'base'", "'serach' is neither a command nor one of"),
        ("[search]\ncolour = 1", "search has no option 'colour'; it has"),
        ("[registries]\nwork = 1", "registries.work must be the address of a registry"),
    ],
)
def test_a_mistake_in_the_file_is_told_and_nothing_is_run(
    call: Call, configure: Callable[[str], Path], text: str, problem: str
) -> None:
    path = configure(text)
    answer = call("search", "cat")
    assert (answer.code, answer.out) == (2, "")
    assert problem in answer.err
    assert str(path) in answer.err


def test_help_works_whatever_the_file_holds(call: Call, configure: Callable[[str], Path]) -> None:
    configure("registry = ")
    assert call("--help").code == 0
