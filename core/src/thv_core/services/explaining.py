"""Say what a permission profile lets a server do, in words for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from thv_core.model.plan import ResourceLimits, resource_limits
from thv_core.model.profile import Grant, Network, PermissionProfile, grant
from thv_core.model.quantity import memory_bytes, memory_text
from thv_core.model.reach import MOST_RULES, Match, Rule, outbound_rules

__all__ = ["Pair", "explanation", "files", "limited", "profile_grants", "reach", "sockets"]

Pair = tuple[str, str]
"""A label, such as ``can reach``, and what is behind it."""

ANYWHERE = "any public address"
NOTHING = "nothing"
UNENFORCED = "not enforced"
"""How a runtime says of a limit that this machine does not enforce it."""


def explanation(profile: PermissionProfile, grants: Sequence[Grant], limits: Sequence[str] = ()) -> tuple[Pair, ...]:
    """Return what a server with this profile can do, and cannot.

    :param grants: every path that it is granted, by the profile and otherwise.
    :param limits: what its runtime says of each limit, when it runs.
    :raises InvalidRequest: when something in the profile cannot be meant.
    """
    reached = [text for text in (reach(profile.network), sockets(profile.allow_socket, grants)) if text]
    pairs = [
        ("can reach", "; and ".join(reached) or NOTHING),
        ("cannot reach", _unreachable(outbound_rules(profile.network), bool(reached))),
        ("can read", ", ".join(map(_place, grants)) or f"{NOTHING} of yours"),
        ("can write", ", ".join(_place(each) for each in grants if each.writable) or f"{NOTHING} of yours"),
        ("may use", _usable(profile)),
    ]
    if profile.network.inbound.allow_host:
        pairs.append(("answers to", ", ".join(profile.network.inbound.allow_host)))
    if loose := [each for each in limits if UNENFORCED in each]:
        pairs.append((UNENFORCED, ", ".join(each.replace(f" ({UNENFORCED})", "") for each in loose)))
    return tuple(pairs)


def profile_grants(profile: PermissionProfile) -> tuple[Grant, ...]:
    """Return every path that a profile grants.

    :raises InvalidRequest: when one of its mounts is none.
    """
    read = (grant(mount, writable=False) for mount in profile.read)
    return (*read, *(grant(mount, writable=True) for mount in profile.write))


def reach(network: Network, most: int = MOST_RULES) -> str:
    """Say what a server may reach: ``example.com:80,443``, ``any public address on ports 80 and 443``, or nothing.

    :param most: how many entries are named; of the others only the number is told.
    :raises InvalidRequest: when an entry of the profile cannot be meant.
    """
    entries = _reached(network)
    more = [f"and {len(entries) - most} more"] if len(entries) > most else []
    return ", ".join([*entries[:most], *more])


@lru_cache(maxsize=1024)
def _reached(network: Network) -> tuple[str, ...]:
    """Return what may be reached, one entry each; a list of workloads asks for it each time."""
    rules = outbound_rules(network)
    anywhere = [f"{ANYWHERE} on {_ports_in_words(each.ports)}" for each in rules if each.match is Match.ANY]
    return (*dict.fromkeys(anywhere), *(_entry(each) for each in rules if each.match is not Match.ANY))


def files(grants: Sequence[Grant]) -> str:
    """Say which files of the user a server sees: ``no files of yours``, or ``reads /a, /b, writes /b``."""
    if not grants:
        return "no files of yours"
    writes = ", ".join(each.source for each in grants if each.writable) or NOTHING
    return f"reads {', '.join(each.source for each in grants)}, writes {writes}"


def sockets(allowed: bool, grants: Sequence[Grant]) -> str:
    """Say what a server reaches by the files that it sees, when they may be sockets, or nothing."""
    return "whatever answers at the Unix sockets in what it can read" if allowed and grants else ""


def limited(limits: ResourceLimits) -> str:
    """Say how much a server may use: ``512 MiB, 256 processes``, and its cores when they are limited."""
    cores = f", {limits.cpu:g} core{'' if limits.cpu == 1 else 's'}" if limits.cpu else ""
    return f"{memory_text(limits.memory)}, {limits.pids} processes{cores}"


def _entry(rule: Rule) -> str:
    """Write a rule with its ports: as it stands in the profile when it names one, else with those that it gets."""
    ports = ",".join(str(port) for port in rule.ports)
    host = rule.host
    if rule.match is Match.SUFFIX:
        host = f"*.{host}"
    elif rule.match is Match.ADDRESS:
        host = host.removesuffix("/128" if ":" in host else "/32")
        host = f"[{host}]" if ":" in host else host
    return f"{host}:{ports}"


def _ports_in_words(ports: Sequence[int]) -> str:
    if len(ports) == 1:
        return f"port {ports[0]}"
    return f"ports {', '.join(str(port) for port in ports[:-1])} and {ports[-1]}"


def _place(grant: Grant) -> str:
    """Write a path of the user, and where the server finds it if that is elsewhere."""
    return grant.source if grant.target == grant.source else f"{grant.source} (there {grant.target})"


def _unreachable(rules: tuple[Rule, ...], any_way: bool) -> str:
    if not any(each.match is Match.ANY for each in rules):
        return "anything else" if any_way else "anything"
    but = ", but for what is named" if any(each.match is Match.ADDRESS for each in rules) else ""
    return f"this machine, your local network, cloud metadata, other servers{but}"


def _usable(profile: PermissionProfile) -> str:
    limits = resource_limits(profile)
    cpu = "" if limits.cpu else ", any share of the CPU"
    folders = (f", {memory_text(memory_bytes(size))} in {path}" for path, size in profile.tmpfs.items())
    strict = "; it starts only where all of this is enforced" if profile.require_limits else ""
    return f"{limited(limits)}{cpu}, {limits.files} open files in each{''.join(folders)}{strict}"
