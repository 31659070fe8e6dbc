"""What people see in a terminal of 80 columns, and that programs never see any of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len

from modhub.cli.main import run
from modhub.cli.output import print_error, print_fields, print_table, say
from modhub.cli.progress import Line, waiting, working
from modhub.cli.telling import Teller, short, tell
from modhub.cli.terminal import wrapped
from modhub.hub.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

COLUMNS = 80
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NAMES = [f"acme/a-collection-of-animals/{name}" for name in ("cat", "dog", "red-kneed-tarantula")]


class Terminal:
    """A pseudo-terminal, and all that was written to it."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self._pieces: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Reading fails once nobody holds the other end any more.
        with contextlib.suppress(OSError):
            while piece := os.read(self.master, 1 << 16):
                self._pieces.append(piece)

    def close(self) -> str:
        """Return what was written, the last character of it included."""
        self.stream.close()
        self._reader.join(timeout=30)
        os.close(self.master)
        return self.text

    @property
    def text(self) -> str:
        return b"".join(self._pieces).decode().replace("\r\n", "\n")


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.delenv("NO_COLOR", raising=False)


@contextlib.contextmanager
def on_terminal() -> Iterator[Terminal]:
    """Let standard output and error be a terminal while the block runs."""
    made = Terminal()
    try:
        with contextlib.redirect_stdout(made.stream), contextlib.redirect_stderr(made.stream):
            yield made
    finally:
        made.close()


def seen(show: Callable[[], object]) -> list[str]:
    """Return the lines that something shows in a terminal, without what is no text."""
    with on_terminal() as terminal:
        show()
    return lines_of(terminal.text)


def process(words: Sequence[str]) -> str:
    """Return what a process wrote to a terminal of its own."""
    own = Terminal()
    code = "from modhub.cli import main; main()"
    subprocess.run(
        [sys.executable, "-c", code, *words],
        check=True,
        stdin=own.stream,
        stdout=own.stream,
        stderr=own.stream,
        env={**without_terminal(), "TERM": "xterm-256color"},
    )
    return own.close()


def without_terminal() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR", "TERM")}


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in ESCAPE.sub("", text).splitlines()]


def test_the_seed_is_listed_within_the_terminal_and_names_stay_whole() -> None:
    text = process(["--quiet", "search"])
    lines = lines_of(text)
    assert "\x1b[1m" in text
    assert max(map(len, lines)) <= COLUMNS
    assert lines[0].split() == ["package", "kind", "classes", "F1", "size"]
    assert sum(line.startswith("modhub/resnet20-cifar10/") for line in lines) == 11
    assert lines[-1] == "in all rows: license BSD-2-Clause, version 1.0.0"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_gets_the_same_text(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    words = ["--quiet", "info", "modhub/resnet20-cifar10/cat"]
    with on_terminal() as styled:
        assert run(words) == 0
    monkeypatch.setenv(name, value)
    with on_terminal() as plain:
        assert run(words) == 0
    assert "\x1b[1m" in styled.text
    assert "\x1b" not in plain.text
    assert lines_of(styled.text) == lines_of(plain.text)


def test_a_pipe_gets_plain_lines_that_are_never_folded_and_nothing_is_loaded_to_draw_them() -> None:
    code = "import sys; from modhub.cli.main import run; run(['search']); assert 'rich' not in sys.modules"
    environment = {**without_terminal(), "COLUMNS": "40"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    header, *rows = done.stdout.splitlines()
    assert (done.stderr, len(rows)) == ("", 11)
    assert header.split() == ["package", "version", "kind", "classes", "F1", "license", "size"]
    assert "\x1b" not in done.stdout
    assert all("BSD-2-Clause" in row for row in rows)


def test_columns_that_are_the_same_in_all_rows_make_room() -> None:
    lines = seen(
        lambda: print_table([{"package": name, "license": "BSD-2-Clause " * 4, "n": i} for i, name in enumerate(NAMES)])
    )
    assert lines[0].split() == ["package", "n"]
    assert lines[1].split() == [NAMES[0], "0"]
    assert " ".join(lines[4:]).startswith("in all rows: license BSD-2-Clause BSD")


def test_a_table_that_fits_is_left_as_it_is() -> None:
    lines = seen(
        lambda: print_table(
            [{"package": name, "kind": "module", "n": 7} for name in NAMES], title="three [bold]of[/bold] them"
        )
    )
    assert lines[:2] == ["three [bold]of[/bold] them", f"{'package':<{len(NAMES[2])}}  kind    n"]
    assert len(lines) == 5


def test_long_texts_are_folded_between_words_and_numbers_never() -> None:
    problems = ["its licence does not go together with that of the others in the lock", "it was yanked"]
    lines = seen(
        lambda: print_table([{"release": NAMES[i], "n": 10**i, "problem": text} for i, text in enumerate(problems)])
    )
    assert max(map(len, lines)) <= COLUMNS
    assert all(NAMES[i] in "\n".join(lines) for i in range(2))
    assert problems[0] in " ".join(" ".join(lines).split()).replace(NAMES[0], "")


def test_a_table_of_many_numbers_is_shown_in_parts_that_each_bear_the_names() -> None:
    shares = [{f"convolution {i}": f"{i}.{row} %" for i in range(12)} for row in range(3)]
    lines = seen(lambda: print_table([{"module": NAMES[row], **shares[row]} for row in range(3)]))
    parts = lines.count("") + 1
    assert parts > 1
    assert max(map(len, lines)) <= COLUMNS
    assert sum(line.startswith(NAMES[0]) for line in lines) == parts


def test_one_row_that_does_not_fit_is_shown_upright() -> None:
    lines = seen(lambda: print_table([{"package": NAMES[0], "sha256": "0123456789abcdef" * 4, "size": "3 kB"}]))
    assert lines[0] == f"package  {NAMES[0]}"
    assert lines[-1] == "size     3 kB"
    assert max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize(
    "name", ["\x1b[2Jgone", "猫" * 60, "[red]x[/red] :smile: " * 9], ids=["escape", "wide", "markup"]
)
def test_hostile_names_stay_text_and_inside(name: str) -> None:
    with on_terminal() as terminal:
        print_table([{"package": "a", "summary": name, "n": 1}, {"package": "b", "summary": "c", "n": 2}])
        print_fields("a", {"summary": name})
    text = terminal.text
    assert "\x1b[2J" not in text
    assert max(map(cell_len, lines_of(text))) <= COLUMNS
    assert "".join(name.split())[-6:] in "".join(text.split())


def test_fields_go_on_below_themselves() -> None:
    lines = seen(lambda: print_fields("acme/pets/base", {"needed by": ", ".join(NAMES), "state": "fine"}))
    assert lines[0] == "acme/pets/base"
    assert lines[1].startswith("  needed by  acme/")
    assert lines[2].startswith(" " * 13 + "acme/")
    assert lines[-1] == "  state      fine"


def test_errors_end_their_lines_between_words_and_keep_commands_whole() -> None:
    lines = seen(
        lambda: print_error(
            "modhub: a registry that nobody may see was asked for. Log in with `modhub login REGISTRY`, or not"
        )
    )
    assert lines == [
        "modhub: a registry that nobody may see was asked for. Log in with",
        "`modhub login REGISTRY`, or not",
    ]


def test_wrong_usage_fits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = seen(lambda: run(["install"]))
    assert max(map(len, lines)) <= COLUMNS
    assert " ".join(lines).endswith("where there is a modhub.toml or a modhub.lock.")


def test_a_text_is_wrapped_line_by_line() -> None:
    assert wrapped("one\n  two three four\n", width=11) == "one\n  two three\n  four\n"
    assert wrapped("`" + "x" * 30 + "` y", width=20).startswith("`" + "x" * 30)


def test_long_work_is_told_of_in_one_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modhub.cli.progress.PATIENCE_S", 0.0)
    with on_terminal() as terminal, waiting("fetching [x]") as progress:
        progress(Transfer(file="model.onnx", done=500_000, total=2_000_000))
        wait_for(terminal, "500.0 kB of 2.0 MB")
        say("something else")
        wait_for(terminal, "something else")
    text = terminal.text
    assert "fetching [x]  0 s" in text
    assert "━" in text
    # What was said stays in a line of its own; the line itself is wiped at the end, and the cursor is back.
    assert re.search(r"\x1b\[2Ksomething else *\n", text)
    assert text.endswith(("\x1b[2K", "\x1b[?25h"))
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def nothing() -> None:
    """Take no time."""
    with waiting("resolving"):
        pass


def test_short_work_is_not_told_of() -> None:
    assert seen(nothing) == []


def test_nobody_is_told_in_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("modhub.cli.progress.PATIENCE_S", 0.0)
    before = threading.active_count()
    with working("resolving"):
        assert threading.active_count() == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("variable", "option"), [("TERM", ()), ("NO_COLOR", ()), ("OTHER", ("--quiet",))], ids=["dumb", "plain", "quiet"]
)
def test_nobody_is_told_where_it_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch, variable: str, option: tuple[str, ...]
) -> None:
    monkeypatch.setattr("modhub.cli.progress.PATIENCE_S", 0.0)
    monkeypatch.setenv(variable, "dumb")
    lines = seen(lambda: run([*option, "search", "cat"]))
    assert lines[0].startswith("package")
    assert "searching" not in "".join(lines)


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("TERM", "unknown"), ("NO_COLOR", "1")])
def test_the_cursor_of_a_plain_terminal_stays_where_it_is(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setattr("modhub.cli.progress.PATIENCE_S", 0.0)
    monkeypatch.setenv(variable, value)
    with on_terminal() as terminal:
        before = threading.active_count()
        with waiting("fetching") as progress:
            assert threading.active_count() == before
            progress(Transfer(file="model.onnx", done=1, total=2))
            say("something else")
    assert terminal.text == "something else\n"


def test_work_inside_work_goes_on_in_the_same_line() -> None:
    from click import Command, Context

    with Context(Command("modhub"), obj={}) as context, working("outer") as line:
        with working("inner") as same:
            assert same is line
            assert line.text().startswith("inner  0 s")
        assert context.obj["line"] is line
    assert "line" not in context.obj


def test_training_is_in_the_line_of_a_terminal_and_not_in_its_history() -> None:
    line, event = Line("splitting"), {"step": "training", "rung": 2, "kept": 0.5, "loss": 0.25, "left_s": 200.0}
    Teller(line)(event)
    assert not line.is_seen
    assert line.note == short(event) == "rung 2, keeps 50.0 %, loss 0.25, about 3 min left"
    lines = seen(lambda: Teller(line)({"step": "parent", "accuracy": 0.9}))
    assert lines == ["   the parent's accuracy on validation data is 90.0 %"]


def test_one_site_is_one() -> None:
    event = {"step": "trunk", "cut": "relu", "kernels": 32, "sites": 1}
    assert seen(lambda: tell(event)) == ["   the trunk ends at relu; masks act on 32 kernels in 1 site"]
    assert seen(lambda: tell({**event, "sites": 2}))[0].endswith("in 2 sites")


def wait_for(terminal: Terminal, text: str, *, seconds: float = 20.0) -> None:
    """Wait until a terminal shows something."""
    until = time.monotonic() + seconds
    while text not in terminal.text:
        assert time.monotonic() < until, terminal.text
        time.sleep(0.02)


def test_a_line_knows_its_share_only_of_what_is_known() -> None:
    line, nothing = Line("fetching"), Transfer(file="", done=0, total=0)
    line.tell(nothing)
    assert (line.share, line.note) == (None, "")
    line.tell(Transfer(file="", done=3, total=2))
    assert line.share == 1.0
    shown: Any = line.view()
    assert shown.row_count == 1
