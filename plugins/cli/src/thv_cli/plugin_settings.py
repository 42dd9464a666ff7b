"""Find out whether a plugin can work with a setting before it is written."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import cast

from thv_core.errors import SettingsError, ThvError
from thv_core.kernel import Kernel, compose
from thv_core.loading.drivers import Drivers
from thv_core.loading.kinds import KINDS
from thv_core.state.settings_keys import parsed
from thv_core.state.yaml_document import scalar

__all__ = ["refuse_wrong"]


def refuse_wrong(environment: Mapping[str, str], key_path: str, text: str) -> list[str]:
    """Construct each driver of the plugin that ``plugins.NAME.KEY`` belongs to as if it were set; start nothing.

    A driver that did not work before either, for another reason, keeps no setting from being written: the ones that it
    lacks may come next. What it still lacks is returned, to be told.

    :raises ThvError: what the plugin says of the setting.
    """
    _, name, *path = key_path.split(".")
    kernel = compose(environment, sys.platform)
    before = kernel.configuration.plugins.get(name, {})
    after = _with(before, path, parsed(key_path, text, scalar))
    warnings: list[str] = []
    for kind in KINDS.values():
        if not kind.driver or name not in {plugin.name for plugin in kernel.catalog.ready(kind.word)}:
            continue
        problem = _problem(kernel, kind.contract_class(), name, after)
        if problem is None:
            continue
        if problem.message.startswith(key_path) or _problem(kernel, kind.contract_class(), name, before) is None:
            raise problem
        if isinstance(problem, SettingsError):
            warnings.append(f"{name} cannot be used yet: {problem.message}")
    return warnings


def _problem(kernel: Kernel, contract: type, name: str, section: Mapping[str, object]) -> ThvError | None:
    try:
        Drivers(kernel.catalog, {name: section}, kernel.surroundings).get(contract, name)
    except ThvError as error:
        return error
    return None


def _with(section: Mapping[str, object], path: list[str], value: object) -> dict[str, object]:
    key, *rest = path
    if not rest:
        return {**section, key: value}
    inner = section.get(key)
    deeper: Mapping[str, object] = cast("Mapping[str, object]", inner) if isinstance(inner, Mapping) else {}
    return {**section, key: _with(deeper, rest, value)}
