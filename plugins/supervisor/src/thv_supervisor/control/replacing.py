"""Turn a request that replaces a configuration into a change of a workload; nothing is recorded here."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from thv_core.errors import Conflict
from thv_core.model.events import Progress
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Successor, Workload
from thv_core.services.choosing_ports import choose_port
from thv_core.services.reconciling import is_running
from thv_core.services.swapping import first_phase, needs_new_life, swap_kind
from thv_core.services.transitions import to_succeed
from thv_supervisor.control.admission import Admitted, admit, ephemeral_start, is_free
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.starting import Birth, rehearse

__all__ = ["Prepared", "prepared", "refuse_busy", "refuse_changed", "succeeded"]


@dataclass(frozen=True)
class Prepared:
    """A configuration that can run here, and what its preparation told."""

    config: RunConfig
    told: tuple[Progress, ...] = ()


async def prepared(request: RunRequest, current: Workload, ground: Ground) -> Prepared:
    """Admit a request to replace the configuration of ``current``, and rehearse its start while nothing is changed.

    :raises ThvError: what the change would have met.
    """
    refuse_busy(current)
    admitted = await admit(request, ground, current)
    config = _with_port(admitted.config, current.config, ground)
    told = _resolved(admitted)
    if needs_new_life(current.config, config):
        values = {**ground.shell_values.of(current.name), **request.shell_values}
        await rehearse(Birth(config, current.generation, values), ground, told.append)
    return Prepared(config, tuple(told))


def refuse_busy(current: Workload) -> None:
    """Check that nothing is under way that excludes a change.

    :raises Conflict: when a change, a first start, a stop or a removal is.
    """
    name = current.name
    if current.successor is not None:
        raise Conflict(f"{name} is being changed", hint=f"Wait for its end:  thv status {name}")
    if current.provisional:
        raise Conflict(f"{name} is being started for the first time", hint=f"Wait for its end:  thv status {name}")
    if current.status in (Status.STOPPING, Status.REMOVING) or current.desired is Desired.REMOVED:
        raise Conflict(f"{name} is {current.status}", hint="Wait for its end:  thv list --all")


def refuse_changed(present: Workload, former: Workload) -> None:
    """Check that nobody changed a configuration while another was prepared on its ground: nothing of it is lost.

    :raises Conflict: when somebody did.
    """
    if present.config != former.config:
        name = present.name
        raise Conflict(
            f"{name} was changed by somebody else meanwhile", hint=f"See how, and ask again:  thv export {name}"
        )


def succeeded(request: RunRequest, config: RunConfig, current: Workload, ground: Ground) -> Workload:
    """Return the workload with the change begun, or made where no other life is needed for it.

    :raises StateUnusable: when the number of another life cannot be recorded.
    """
    if not needs_new_life(current.config, config):
        return msgspec.structs.replace(current, config=config)
    observed = ground.observatory.sees(current.config.runtime, current.name) or ()
    runs = any(is_running(each) for each in observed if each.deployment.generation == current.generation)
    report = ground.link.report(f"{current.name}.{current.generation}")
    kind = swap_kind(current.config, config, runs=runs, stateful=bool(report and report.stateful))
    successor = Successor(
        config=config,
        generation=ground.store.next_generation(),
        request_id=request.request_id,
        kind=kind,
        phase=first_phase(kind, runs=runs),
        formerly=current.desired,
    )
    return to_succeed(current, successor)


def _resolved(admitted: Admitted) -> list[Progress]:
    step = Progress(step="resolved", text=admitted.resolved, seconds=admitted.seconds)
    return [step] if admitted.resolved else []


def _with_port(config: RunConfig, current: RunConfig, ground: Ground) -> RunConfig:
    if config.port in (0, current.port):
        return msgspec.structs.replace(config, port=current.port)
    others = {name: port for name, port in ground.store.remembered_ports().items() if name != current.name}
    port = choose_port(config.port, others, ephemeral_start(), is_free)
    return msgspec.structs.replace(config, port=port)
