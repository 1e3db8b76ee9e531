"""Options that a collection declares, as options of the commands that preprocess it.

`stgcma preprocess events RAW OUT --window-seconds 5`: the option belongs to `events`. It is read here, before
the command's own options, so that help texts of commands need not import the collections.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from ..errors import InputError
from ..preprocess.collections import COLLECTIONS

if TYPE_CHECKING:
    from ..preprocess.collections.options import OptionFacts

_META = "stgcma.collection_options"
_COLLECTION = "stgcma.collection"


class CollectionCommand(TyperCommand):
    """A command whose first argument can be a collection that has options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the collection's options out of `args`, and parse the rest as usual."""
        first = _first_argument(args, without_value=self._flags(ctx))
        name = first if first in COLLECTIONS else None
        ctx.meta[_COLLECTION] = name
        facts = {} if name is None else option_facts(name)
        ctx.meta[_META], rest = _taken(args, {flag(one): one for one in facts})
        return super().parse_args(ctx, rest)

    def _flags(self, ctx: Any) -> frozenset[str]:
        """Return the command's options that have no value, such as `--json`."""
        flags = [one for one in self.get_params(ctx) if getattr(one, "is_flag", False)]
        return frozenset(name for one in flags for name in (*one.opts, *one.secondary_opts))

    @staticmethod
    def sections() -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Yield each collection that has options, with their usage and help."""
        for name in COLLECTIONS:
            if facts := option_facts(name):
                yield name, list(help_rows(facts))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the command's options and those of the collection that is named."""
        super().format_options(ctx, formatter)
        name = ctx.meta.get(_COLLECTION)
        facts = {} if name is None else option_facts(name)
        if facts:
            with formatter.section(f"Options of the collection {name}"):
                formatter.write_dl(list(help_rows(facts)))


def help_rows(facts: dict[str, OptionFacts]) -> Iterator[tuple[str, str]]:
    """Yield usage and help of each option."""
    for name, one in facts.items():
        default = "" if one.default is None else f"; default: {one.default}"
        yield f"{flag(name)} {one.kind.__name__.upper()}", f"{one.help}  [{one.expected}{default}]"


def option_facts(collection: str) -> dict[str, OptionFacts]:
    """Return the options that a collection declares, by name."""
    options = COLLECTIONS[collection].options
    return {} if options is None else options.facts()


def collection_options(ctx: typer.Context) -> dict[str, str]:
    """Return the values that the command line gives to the collection's options, as text."""
    values: dict[str, str] = ctx.meta.get(_META, {})
    return values


def flag(name: str) -> str:
    """Return the option `window_seconds` as it is typed."""
    return f"--{name.replace('_', '-')}"


def _first_argument(args: list[str], *, without_value: Collection[str]) -> str | None:
    """Return the first of `args` that is neither an option nor the value of one; None without any."""
    words = iter(args)
    for word in words:
        if word == "--":
            return next(words, None)
        if not word.startswith("-") or word == "-":
            return word
        if "=" not in word and word not in without_value:
            next(words, None)
    return None


def _taken(args: list[str], flags: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of the options in `flags` by name, and the other arguments."""
    values: dict[str, str] = {}
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            rest += [word, *words]
            break
        given, equals, value = word.partition("=")
        if given not in flags:
            rest.append(word)
            continue
        if not equals:
            found = next(words, None)
            if found is None:
                raise InputError(f"{given} needs a value")
            value = found
        values[flags[given]] = value
    return values, rest
