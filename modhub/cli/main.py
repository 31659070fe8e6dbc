"""The `modhub` command and what all its commands share."""

from __future__ import annotations

import difflib
import importlib
import io
import sys
from typing import TYPE_CHECKING, Any

import click

from modhub._version import __version__
from modhub.cli.failures import BUG, INTERRUPTED, exit_code_of, explain, safe_text
from modhub.cli.settings import read_settings
from modhub.errors import ModhubError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "train": "train a classifier, towards modularity or plainly",
    "decompose": "split a trained classifier into class modules",
    "evaluate": "measure a model, module or composite on data",
    "plot": "draw what modules keep and have in common",
    "check": "validate a package or collection",
    "sign": "sign the packages of a collection with a key",
    "verify": "check who signed the packages of a collection",
    "publish": "put a collection into a registry, in one commit",
    "search": "find modules",
    "info": "show a package, its versions and its dependents",
    "resolve": "choose exact releases for requirements",
    "install": "resolve, fetch and verify; write modhub.lock",
    "compose": "join modules into one runnable model",
    "patch": "let a module take over a class of a weak model",
    "run": "score images or arrays",
    "export": "write a package in a form that other tools take",
    "audit": "look again at what a lock holds",
    "yank": "mark a release as one not to choose any more",
    "unyank": "take a yank back",
    "deprecate": "say what to use instead of a release",
    "login": "keep a token for a registry",
    "logout": "forget the token of a registry",
    "whoami": "say whose token a registry sees",
    "registry": "registries by name, mirrors, and tokens for one of your own",
    "bundle": "write collections as one file, to carry without a network",
    "import": "put the collections of a bundle into a registry",
    "cache": "the store of fetched files",
    "serve": "a registry of your own that speaks the Hub's protocol",
    "demo": "the whole story on a real network and real images",
}
"""The commands in the order of the story, with their short help: `modhub --help` needs no command's module."""

HOMES = {
    "verify": "sign:verify",
    "unyank": "yank:unyank",
    "deprecate": "yank:deprecate",
    "logout": "login:logout",
    "whoami": "login:whoami",
    "import": "bundle:import_bundle",
}
"""Commands that share the module of another: the module, and what they are called there."""

EPILOG = """\b
Start with `modhub demo`. Every command has its own --help with an example.
Options have variables too: MODHUB_REGISTRY, MODHUB_STORE, MODHUB_OFFLINE, and
MODHUB_COMMAND_OPTION for the others. Defaults: MODHUB_CONFIG, or config.toml
in the user's configuration folder.
Completion: eval "$(_MODHUB_COMPLETE=bash_source modhub)"; also zsh and fish.
"""


class LazyCommands(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order of the story."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command by its name, or None."""
        return find_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called; for a misspelt one, say which may be meant."""
        near = difflib.get_close_matches(args[0], COMMANDS, n=1) if args[0] not in COMMANDS else []
        if near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def find_command(name: str | None) -> click.Command | None:
    """Return a command by its name, or None."""
    if name not in COMMANDS:
        return None
    module, _, called = HOMES.get(name, name).partition(":")
    command: click.Command = getattr(importlib.import_module(f"modhub.cli.commands.{module}"), called or "command")
    command.name, command.short_help = name, COMMANDS[name]
    return command


@click.command(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MODHUB", "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="modhub")
@click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on standard error.")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool, quiet: bool) -> None:
    """Split neural networks into class modules, share them as packages, compose new models.

    Results go to standard output, progress to standard error. Exit codes: 0 done, 1 the answer is no, 2 wrong usage,
    3 not found, 4 integrity, 5 registry or disk, 70 a bug.
    """
    ctx.obj |= {"debug": debug, "quiet": quiet}
    settings = ctx.obj["settings"] = read_settings(commands=tuple(COMMANDS))
    command = find_command(ctx.invoked_subcommand)
    if command is not None and command.name is not None:
        ctx.default_map = {command.name: settings.defaults_for(command)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; only `--debug` lets an error through."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    state: dict[str, Any] = {}
    try:
        result: Any = cli.main(args=words, prog_name="modhub", standalone_mode=False, obj=state)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("modhub: interrupted; nothing half-written was left behind", err=True)
        return INTERRUPTED
    except Exception as error:  # The outermost seam: all that is not ours is a bug of ours.
        if state.get("debug"):
            raise
        return report(error)
    return result if isinstance(result, int) else 0


def show(error: click.ClickException) -> None:
    """Print what was wrong with the words of a command, in lines that fit the terminal."""
    from modhub.cli.output import fitted

    text = io.StringIO()
    error.show(text)
    click.echo(fitted(text.getvalue(), sys.stderr), err=True, nl=False)


def report(error: Exception) -> int:
    """Print one readable paragraph about an error and return the exit code that it stands for."""
    from modhub.cli.output import print_error

    if isinstance(error, ModhubError):
        print_error(f"modhub: {explain(error)}")
        return exit_code_of(error)
    text = safe_text(f"{type(error).__name__}: {error}")
    print_error(f"modhub: a bug: {text}. Run `modhub --debug ...` again and report what it prints.")
    return BUG
