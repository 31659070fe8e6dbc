"""Tables, numbers and what a hostile name can do to a terminal."""

from __future__ import annotations

import pytest

from modhub import errors
from modhub.cli.failures import exit_code_of, explain
from modhub.cli.main import report
from modhub.cli.output import byte_size, percent, print_table, shown


def test_a_table_never_cuts_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    name = "owner/" + "long-" * 40 + "name"
    print_table([{"package": name, "size": "1.2 kB"}, {"package": "b", "size": "30 kB"}])
    header, first, second = capsys.readouterr().out.splitlines()
    assert name in first
    assert header.endswith("size")
    assert second.endswith("   30 kB")


def test_signs_that_take_two_columns_are_counted_as_two(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"class": "猫", "n": 1}, {"class": "cat", "n": 2}])
    assert capsys.readouterr().out.splitlines()[1:] == ["猫     1", "cat    2"]


def test_nothing_is_printed_of_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "one\ntwo", "a\rb", "\u202eevil"])
def test_a_cell_cannot_command_the_terminal(text: str) -> None:
    assert shown(text).isprintable()


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (5 * 10**12, "5000.0 GB")]
)
def test_sizes_are_in_the_unit_that_people_read(count: int, text: str) -> None:
    assert byte_size(count) == text


def test_shares_are_percentages() -> None:
    assert (percent(0.1234), percent(None)) == ("12.3 %", "-")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.MissingExtra("torch", extra="torch", purpose="decomposing"), 2),
        (errors.InvalidRequirement("x"), 2),
        (errors.InvalidPackage([]), 1),
        (errors.InvalidData("x"), 1),
        (errors.DecomposeError("x"), 1),
        (errors.ResolveError("x"), 1),
        (errors.ComposeError("x"), 1),
        (errors.VersionTaken("x"), 1),
        (errors.NotFound("x"), 3),
        (errors.IntegrityError("x"), 4),
        (errors.StorageError("x"), 5),
        (errors.CommitConflict("x"), 5),
        (errors.HubError("x"), 5),
    ],
)
def test_every_error_has_its_exit_code(error: errors.ModhubError, code: int) -> None:
    assert exit_code_of(error) == code


def test_advice_follows_the_problem() -> None:
    assert explain(errors.CommitConflict("it moved")) == "it moved. Somebody published at the same moment: try again."
    assert explain(errors.FormatError("it is broken")) == "it is broken"


def test_a_bug_is_called_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError("division by zero")) == 70
    assert capsys.readouterr().err.startswith("modhub: a bug: ZeroDivisionError: division by zero. Run")
