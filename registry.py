"""Registries: the modules of a package that each define one entry, found by file, loaded when asked for.

A module is an entry of a registry when it assigns the registry's attribute at its top level. The name of the
entry is the module's, with `-` for `_`. A new entry is one new file, and no list of names is kept elsewhere.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

from .errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """The entries of one package, by name. Listing the names imports nothing.

    Args:
        package: of the modules, such as `stgcma.train.tasks`.
        folder: of the package.
        attribute: the name that each module assigns, such as `TASK`.
        noun: of an entry, for messages, such as `task`.

    >>> from stgcma.train.tasks import TASKS
    >>> TASKS.names
    ('ave', 'avqa', 'avs')
    """

    def __init__(self, package: str, folder: Path, *, attribute: str, noun: str) -> None:
        self._package, self._folder, self._attribute, self._noun = package, folder, attribute, noun
        # Not cached_property: a process that is forked while a thread holds its lock would wait for ever.
        self._found: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all entries, sorted."""
        if self._found is None:
            self._found = self._find()
        return self._found

    def _find(self) -> tuple[str, ...]:
        # In bytes: a file in another encoding must fail when it is loaded, not for every command.
        assigned = re.compile(rb"^%b(?::[^=\n]+)?[ \t]*=(?!=)" % self._attribute.encode(), re.MULTILINE)
        found = (path.stem for path in self._modules() if assigned.search(path.read_bytes()))
        return tuple(sorted(name.replace("_", "-") for name in found))

    def _modules(self) -> Iterator[Path]:
        """Yield the files that can be imported, without those that editors and systems leave beside them."""
        for path in self._folder.glob("*.py"):
            if path.stem.isidentifier() and not path.stem.startswith("_") and path.is_file():
                yield path

    def __getitem__(self, name: str) -> T:
        """The entry `name`. Raises InputError that lists the known names, or suggests the nearest one."""
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(self.names)}"
            raise InputError(f"{self._noun} {name!r} is not known; {hint}")
        module: Any = import_module(f"{self._package}.{name.replace('-', '_')}")
        entry: T = getattr(module, self._attribute)
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def items(self) -> Iterator[tuple[str, T]]:
        """Every name with its entry; imports all modules."""
        return ((name, self[name]) for name in self.names)
