"""A folder with a recipe, and the lock beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.recipe import RECIPE_FILE, Recipe
from modhub.spec.requirements import PathRequirement, parse_requirement
from modhub.workspace.lockfile import LOCK_FILE, read_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.spec.lock import Lock


@dataclass(frozen=True, kw_only=True)
class Project:
    """A recipe, and the folder that its paths are seen from."""

    folder: Path
    recipe: Recipe

    @classmethod
    def read(cls, file: Path) -> Project:
        """Return the project of a recipe.

        Raises:
            NotFound: there is no such file.
            FormatError: it is no valid recipe.
        """
        try:
            data = fsops.read_file(file.resolve(), limit=limits.RECIPE_BYTES)
            return cls(folder=file.absolute().parent, recipe=Recipe.from_toml(data.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise FormatError("is no UTF-8 text", file=str(file)) from error
        except FormatError as error:
            raise (error if error.file else error.in_file(str(file))) from error.__cause__

    @classmethod
    def of(cls, requirements: Sequence[str]) -> Project | None:
        """Return the project that is meant: by the path of its recipe, or by nothing where one lies here; else None.

        Raises:
            FormatError: its recipe is not valid.
        """
        named = Path(requirements[0]) if len(requirements) == 1 else Path(RECIPE_FILE)
        is_meant = not requirements or (len(requirements) == 1 and named.suffix == ".toml")
        return cls.read(named) if is_meant and named.is_file() else None

    @property
    def lock_file(self) -> Path:
        """Where its lock lies."""
        return self.folder / LOCK_FILE

    def read_lock(self) -> Lock | None:
        """Return its lock, or None before there is one.

        Raises:
            FormatError: it is no valid lock.
        """
        return read_lock(self.lock_file) if self.lock_file.exists() else None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The requirements that registries answer, as a lock has them."""
        parsed = [parse_requirement(text) for text in self.recipe.requirements]
        return tuple(str(each) for each in parsed if not isinstance(each, PathRequirement))

    @property
    def requirements(self) -> tuple[str, ...]:
        """All requirements in their order, with paths that lead there from anywhere."""
        parsed = [parse_requirement(text) for text in self.recipe.requirements]
        return tuple(
            f"path:{self.path(each.path)}" if isinstance(each, PathRequirement) else str(each) for each in parsed
        )

    @property
    def names(self) -> dict[str, str]:
        """The addresses of registries by the names that the recipe has for them, and of folders by their paths."""
        parsed = [parse_requirement(text) for text in self.recipe.requirements]
        asked = [each.origin for each in parsed if not isinstance(each, PathRequirement)]
        origins = [origin for origin in asked if origin is not None]
        folders = {text: self._address(text) for text in (*self.recipe.registry, *origins)}
        named = {name: self._address(address) for name, address in self.recipe.registries.items()}
        return {**{text: found for text, found in folders.items() if found != text}, **named}

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries to look through, by address or by a name that a person configured."""
        return tuple(self.names.get(text, text) for text in self.recipe.registry)

    @property
    def calibrate(self) -> str | None:
        """The data to calibrate the scores on, as seen from anywhere."""
        data = self.recipe.calibrate
        return None if data is None else self._address(data)

    def fits(self, lock: Lock) -> bool:
        """Tell whether a lock was made for this recipe as it is now."""
        return lock.requirements == self.wanted and lock.request == self.recipe.request()

    def path(self, text: str) -> Path:
        """Return a path of the recipe as seen from anywhere."""
        return (self.folder / Path(text).expanduser()).resolve()

    def _address(self, text: str) -> str:
        """Return a registry's address, a folder's path as seen from anywhere; names and schemes stay."""
        return str(self.path(text)) if text.startswith(("./", "../", "~")) or text in (".", "..") else text
