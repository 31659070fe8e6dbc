"""What commands take from a recipe, where one is meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from modhub.cli.options import check_free, check_present
from modhub.cli.output import say
from modhub.errors import UsageError

if TYPE_CHECKING:
    from modhub.cli.options import Choosing, Places
    from modhub.spec.lock import Lock, Request
    from modhub.spec.recipe import Recipe
    from modhub.workspace import Project, Workspace
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a command is to resolve, from the command line, a recipe, or an existing lock.

    Args:
        requirements: what is asked for, of registries.
        request: how.
        workspace: where to look.
        lock_file: where the lock lies, or belongs; None where nobody wants it written.
        old: the lock that is there.
        project: the recipe that all this comes from, if it does.
    """

    requirements: tuple[str, ...]
    request: Request
    workspace: Workspace
    lock_file: Path | None
    old: Lock | None
    project: Project | None

    @property
    def fits(self) -> bool:
        """Whether the lock that is there was made for just this."""
        return self.old is not None and (self.old.requirements, self.old.request) == (self.requirements, self.request)

    def resolve(self, choosing: Choosing) -> Lock:
        """Return a new lock, with the versions of the old one where they fit and are not to be upgraded."""
        check_present(self.workspace)
        return choosing.resolve(self.requirements, self.workspace, request=self.request, old=self.old)

    def differences(self, lock: Lock) -> tuple[str, ...]:
        """Return in what a lock does not hold for this any more."""
        from modhub.workspace.comparing import differences

        check_present(self.workspace)
        return differences(lock, self.workspace, requirements=self.requirements, request=self.request)

    def write(self, lock: Lock) -> None:
        """Write a lock where it belongs, if it says anything new."""
        from modhub import fsops

        if self.lock_file is None or (self.old is not None and self.old == lock):
            return
        fsops.replace_file(self.lock_file, lock.to_toml().encode())
        say(f"wrote {shown(self.lock_file)}")


def task_of(
    requirements: tuple[str, ...], *, lock_file: Path | None, choosing: Choosing, places: Places, what: str
) -> Task:
    """Return what a command is to resolve.

    Without requirements that is the recipe of the folder, or else what the existing lock was made for.

    Args:
        requirements: those of the command line, or the path of a recipe.
        lock_file: where the lock lies, if the person said it, or the command has a default.
        choosing: the options that say how to choose.
        places: those that say where to look.
        what: the command, for messages.

    Raises:
        UsageError: there is nothing to resolve, or a recipe asks for what no registry holds.
        FormatError: the recipe or the lock is not valid.
    """
    from modhub.spec.lock import Request
    from modhub.spec.requirements import parse_requirement
    from modhub.workspace import LOCK_FILE, Project, read_lock

    project = Project.of(requirements)
    if project is not None:
        file = lock_file or project.lock_file
        old = read_lock(file) if file.exists() else None
        check_answerable(project)
        request = choosing.request(project.recipe.request())
        workspace = places.open(project.registries, names=project.names, needed=False)
        return Task(
            requirements=project.wanted, request=request, workspace=workspace, lock_file=file, old=old, project=project
        )
    if not requirements:
        file = lock_file or Path(LOCK_FILE)
        if not file.exists():
            raise click.UsageError(f"Say what to {what}, or run it where there is a modhub.toml or a {file}.")
        old = read_lock(file)
        workspace = places.open(dict.fromkeys(module.registry for module in old.modules), needed=False)
        request = choosing.request(old.request)
        return Task(
            requirements=old.requirements, request=request, workspace=workspace, lock_file=file, old=old, project=None
        )
    old = read_lock(lock_file) if lock_file is not None and lock_file.exists() else None
    asked = tuple(str(parse_requirement(text)) for text in requirements)
    return Task(
        requirements=asked,
        request=choosing.request(Request()),
        workspace=places.open(),
        lock_file=lock_file,
        old=old,
        project=None,
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to compose: the requirements, how to resolve them, where to look, and the recipe and lock where they exist.

    `output` is the folder that the recipe names, `calibrate` the data to calibrate on.
    """

    requirements: tuple[str, ...]
    request: Request
    workspace: Workspace
    lock: Lock | None = None
    recipe: Recipe | None = None
    output: Path | None = None
    calibrate: str | None = None


def plan_of(
    requirements: tuple[str, ...],
    *,
    places: Places,
    strategy: str,
    calibrate: str | None = None,
    adapting: bool = False,
) -> Plan:
    """Return what a command is to compose; the lock of a recipe is written where it did not fit.

    Modules that are to be adapted need not fit together before; a recipe says so itself.

    Raises:
        UsageError: there is neither a requirement nor a recipe.
        ResolveError: nothing satisfies the recipe.
    """
    from modhub.cli.options import Choosing
    from modhub.spec.lock import Request
    from modhub.workspace import Project

    project = Project.of(requirements)
    if project is None:
        if not requirements:
            raise click.UsageError("Say what to compose, or run it where there is a modhub.toml.")
        # Only these exclude modules, so that others say nothing about resolving.
        request = Request(
            strategy=strategy if strategy in ("trunk", "union") else None,
            calibrating=True if calibrate else None,
            apart=True if adapting else None,
        )
        return Plan(requirements=requirements, request=request, workspace=places.open(), calibrate=calibrate)
    output = project.path(project.recipe.output) if project.recipe.output else None
    if not project.wanted:
        workspace = places.open(project.registries, names=project.names)
        lock, request = None, project.recipe.request()
    else:
        choosing = Choosing()
        task = task_of(requirements, lock_file=None, choosing=choosing, places=places, what="compose")
        lock = task.old if task.fits and task.old is not None else task.resolve(choosing)
        task.write(lock)
        workspace, request = task.workspace, task.request
    return Plan(
        requirements=project.requirements,
        request=request,
        workspace=workspace,
        lock=lock,
        recipe=project.recipe,
        output=output,
        calibrate=calibrate or project.calibrate,
    )


def check_output(output: Path | None, plan: Plan) -> Path:
    """Return the folder to write, which can be written.

    Raises:
        UsageError: nobody said which, or something of that name is there.
        StorageError: it may not be written.
    """
    folder = output or plan.output
    if folder is None:
        where = "or write output in the recipe" if plan.recipe else "such as -o composed"
        raise UsageError(f"say which folder to write with --output, {where}")
    check_free(folder)
    return Path(shown(folder))


def check_answerable(project: Project) -> None:
    """Check that a registry can be asked for something.

    Raises:
        UsageError: all requirements are paths.
    """
    if not project.wanted:
        raise UsageError("the recipe asks for folders only, and there is nothing to resolve: compose takes them")


def given(name: str, value: T, instead: T | None) -> T:
    """Return an option's value where a person gave it, else that of the recipe where it has one."""
    source = click.get_current_context().get_parameter_source(name)
    return value if instead is None or source is not click.core.ParameterSource.DEFAULT else instead


def shown(path: Path) -> str:
    """Return a path as people write it: from here, where it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
