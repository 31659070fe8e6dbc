"""Every exception of modhub, split by what the caller can do about it.

```
ModhubError
├── UsageError           the call itself is wrong: call it differently
│   ├── MissingExtra     an optional dependency is absent: install the extra
│   └── InvalidPlugin    a plugin cannot be used: tell its authors, or uninstall it
├── FormatError          a file or value breaks its format: fix it
│   ├── InvalidName      a package, collection or class name
│   ├── InvalidVersion   a version or a specifier
│   ├── InvalidRequirement
│   ├── InvalidData      a data set that cannot be used
│   ├── InvalidNetwork   a model that is no classifier modhub can take
│   │   └── UnsupportedOperator
│   └── InvalidPackage   a package folder; carries every problem found
├── IntegrityError       the bytes are not the ones promised: do not use them
├── HubError             could not read from or write to a registry: retry, log in
│   ├── NotFound         no such file, package, release or collection
│   ├── VersionTaken     the version exists with other content
│   ├── CommitConflict   somebody else committed first
│   ├── AccessDenied     the registry wants a token, or another one: log in
│   └── StorageError     the disk or folder refused: full, read-only, no permission
├── DecomposeError       this network does not split that way
├── ResolveError         nothing satisfies the requirements: ask for something else
└── ComposeError         these modules do not fit together
```

A library error says *what* is wrong, with the value and what was expected. Advice on
what to type next belongs to the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ModhubError(Exception):
    """Base of every error that modhub raises on purpose."""


class UsageError(ModhubError):
    """The call is wrong: an unknown option value, a combination that means nothing."""


class MissingExtra(UsageError):
    """An optional dependency is not installed.

    Args:
        package: the import name that is missing, for example ``torch``.
        extra: the extra of modhub that brings it.
        purpose: what it is needed for, as a noun phrase.
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'modhub[{extra}]'")
        self.package, self.extra, self.purpose = package, extra, purpose


class InvalidPlugin(UsageError):
    """A plugin cannot be loaded, or did not do what its group promises; names the plugin and its package."""


class FormatError(ModhubError, ValueError):
    """A file or value breaks its format.

    Args:
        problem: what is wrong, with the value and what was expected.
        where: path to the bad value inside the document, such as ``files[0].size``.
        file: the file that holds it, if any.
    """

    def __init__(self, problem: str, *, where: str = "", file: str = "") -> None:
        super().__init__(": ".join(part for part in (file, where, problem) if part))
        self.problem, self.where, self.file = problem, where, file

    def under(self, key: str) -> FormatError:
        """Return the same problem seen from one level further out in the document."""
        glue = "" if self.where.startswith("[") or not self.where else "."
        return type(self)(self.problem, where=f"{key}{glue}{self.where}", file=self.file)

    def in_file(self, file: str) -> FormatError:
        """Return the same problem with the file it was found in."""
        return type(self)(self.problem, where=self.where, file=file)


class InvalidName(FormatError):
    """A name of a package, collection, class or array breaks the rules for names."""


class InvalidVersion(FormatError):
    """A version is not ``X.Y.Z`` with an optional ``aN``, ``bN`` or ``rcN``; or a specifier is malformed."""


class InvalidRequirement(FormatError):
    """A requirement cannot be parsed."""


class InvalidData(FormatError):
    """A data set cannot be read, is empty, or does not fit the network."""


class InvalidNetwork(FormatError):
    """A model is not a classifier that modhub can represent; names the node where possible."""


class UnsupportedOperator(InvalidNetwork):
    """A graph holds an operator that modhub cannot handle; names node and operator."""


class InvalidPackage(FormatError):
    """A package breaks the format; `problems` lists everything found, in reading order."""

    def __init__(self, problems: Iterable[FormatError], *, subject: str = "package") -> None:
        self.problems = tuple(problems)
        self.subject = subject
        lines = [str(problem) for problem in self.problems]
        count = f"{len(lines)} problem{'s' if len(lines) != 1 else ''}"
        super().__init__(f"{subject} is invalid, {count}:\n" + "\n".join(f"  - {line}" for line in lines))


class IntegrityError(ModhubError):
    """Bytes differ from what a digest, size or lock promised. They must not be used."""


class HubError(ModhubError):
    """A registry could not be read or written."""


class NotFound(HubError):
    """There is no such file, package, release, collection or registry."""


class VersionTaken(HubError):
    """The version is already published with other content."""


class CommitConflict(HubError):
    """The collection changed since it was read; nothing was written."""


class AccessDenied(HubError):
    """A registry refused who asked: no token, a wrong one, or one that may not do this."""


class StorageError(HubError):
    """A disk or folder refused: full, read-only, no permission."""


class DecomposeError(ModhubError):
    """The network cannot be split in the way asked for."""


class ResolveError(ModhubError):
    """No set of releases satisfies the requirements."""


class ComposeError(ModhubError):
    """The modules do not fit together."""
