"""Values of flags as programs in Go take them: ``--all=true``, ``-f=false``, ``--isolate-network=false``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

from thv_core.errors import InvalidRequest

__all__ = ["without_flag_values"]

_TRUE = ("1", "t", "true")
_FALSE = ("0", "f", "false")


def without_flag_values(command: click.Command, arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command as click understands them.

    A flag with a true value becomes the flag; one with a false value becomes its opposite where there is one, else
    nothing. Everything else stays as it is, also what follows ``--`` and the values of other options.

    :raises InvalidRequest: when a flag is given another value.
    """
    return list(_rewritten(command, iter(arguments)))


def _rewritten(command: click.Command, arguments: Iterator[str]) -> Iterator[str]:
    options = _options(command)
    for argument in arguments:
        name, separator, value = argument.partition("=")
        option = options.get(name)
        if argument == "--":
            yield argument
            yield from arguments
        elif option is not None and option.is_flag and separator:
            yield from _spelled(option, name, value)
        elif option is not None and not option.is_flag and not separator:
            yield argument
            yield from _next(arguments)
        else:
            yield argument
            command, options = _below(command, argument, options)


def _options(command: click.Command) -> dict[str, click.Option]:
    found = [each for each in command.params if isinstance(each, click.Option)]
    return {name: each for each in found for name in each.opts}


def _below(
    command: click.Command, argument: str, options: dict[str, click.Option]
) -> tuple[click.Command, dict[str, click.Option]]:
    """Descend into the subcommand that an argument names, if it does; the options above it stay known."""
    children: Mapping[str, click.Command] = command.commands if isinstance(command, click.Group) else {}
    child = children.get(argument)
    return (child, {**options, **_options(child)}) if child else (command, options)


def _spelled(option: click.Option, name: str, value: str) -> Iterator[str]:
    if value.lower() in _TRUE:
        yield name
    elif value.lower() in _FALSE:
        yield from option.secondary_opts[:1]
    else:
        raise InvalidRequest(f"{name} is true or false, not {value!r}", hint=f"Write {name}, or {name}=false.")


def _next(arguments: Iterator[str]) -> Iterator[str]:
    value = next(arguments, None)
    if value is not None:
        yield value
