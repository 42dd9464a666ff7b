"""How a workload is changed."""

from __future__ import annotations

import msgspec
import pytest

from thv_core.model.profile import Network, Outbound, PermissionProfile
from thv_core.model.run_config import MiddlewareConfig, RunConfig
from thv_core.model.status import Status
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.services.swapping import (
    SOON_LIMIT,
    SWAP_GRACE,
    first_phase,
    grace_of,
    is_served,
    needs_new_life,
    pause_before_holding,
    readiness_limit,
    succeeding,
    swap_kind,
)

CONFIG = RunConfig(name="time", image="uvx://t@1", port=19001)
PROFILE = PermissionProfile(name="none")


def configured(**more: object) -> RunConfig:
    return msgspec.structs.replace(CONFIG, **more)


def changing(kind: SwapKind, phase: SwapPhase = SwapPhase.STARTING, **more: object) -> Workload:
    rolling_back = str(more.pop("rolling_back", ""))
    successor = Successor(
        config=configured(env_vars={"A": "1"}),
        generation=9,
        request_id="s",
        kind=kind,
        phase=phase,
        rolling_back=rolling_back,
    )
    fields = {"status": Status.RUNNING, "started_at": 102.0, **more}
    return Workload(name="time", config=CONFIG, request_id="r", successor=successor, **fields)


@pytest.mark.parametrize(
    "harmless",
    [{"group": "team"}, {"container_labels": {"a": "b"}}, {"permission_profile_name_or_path": "./profile.json"}],
)
def test_who_belongs_where_needs_no_new_life(harmless: dict[str, object]) -> None:
    assert not needs_new_life(CONFIG, configured(**harmless))
    assert not needs_new_life(CONFIG, CONFIG)


@pytest.mark.parametrize(
    "other",
    [
        {"allowed_origins": ("https://a.example",)},
        {"endpoint_prefix": "/x"},
        {"trust_proxy_headers": True},
        {"strict_protocol_validation": True},
        {"session_ttl": "5m"},
        {"proxy_mode": "sse"},
    ],
)
def test_what_the_gateway_alone_does_otherwise_disturbs_no_server(other: dict[str, object]) -> None:
    assert not needs_new_life(CONFIG, configured(**other))


@pytest.mark.parametrize("private", [{"stdio_sessions": "per-client"}, {"transport": "sse", "target_port": 8080}])
def test_conversations_of_single_sessions_last_as_long_as_was_said_when_they_began(private: dict[str, object]) -> None:
    assert needs_new_life(configured(**private), configured(session_ttl="5m", **private))


@pytest.mark.parametrize(
    "change",
    [
        {"image": "uvx://t@2"},
        {"env_vars": {"A": "1"}},
        {"port": 19002},
        {"host": "::1"},
        {"request_timeout": "1m"},
        {"tls_certificate": "/c.pem", "tls_key": "/k.pem"},
        {"socket": "/s.sock"},
        {"stdio_sessions": "per-client"},
        {"additional_middleware_configs": (MiddlewareConfig(type="audit"),)},
        {"permission_profile": PermissionProfile(network=Network(outbound=Outbound(allow_host=("a.example",))))},
        {"secrets": ("a,target=A",)},
    ],
)
def test_everything_else_does(change: dict[str, object]) -> None:
    assert needs_new_life(CONFIG, configured(**change))


READS = {"volumes": ("/a:/b:ro",), "permission_profile": PermissionProfile(read=("/c",))}


@pytest.mark.parametrize("writes", [{"volumes": ("/a:/b",)}, {"permission_profile": PermissionProfile(write=("/c",))}])
def test_two_lives_never_hold_what_may_be_written_to(writes: dict[str, object]) -> None:
    writing = configured(**writes)
    for former, latter in ((CONFIG, writing), (writing, CONFIG)):
        assert swap_kind(former, latter, runs=True, stateful=False) is SwapKind.INSTEAD


def test_what_holds_nothing_becomes_ready_beside() -> None:
    assert swap_kind(configured(**READS), configured(**READS), runs=True, stateful=False) is SwapKind.BESIDE


def test_a_server_with_sessions_of_its_own_or_one_that_does_not_run_is_replaced() -> None:
    assert swap_kind(CONFIG, CONFIG, runs=True, stateful=True) is SwapKind.INSTEAD
    assert swap_kind(CONFIG, CONFIG, runs=False, stateful=False) is SwapKind.INSTEAD


def test_only_a_running_life_that_has_to_end_first_is_waited_for() -> None:
    assert first_phase(SwapKind.INSTEAD, runs=True) is SwapPhase.ASKED
    assert first_phase(SwapKind.INSTEAD, runs=False) is SwapPhase.STARTING
    assert first_phase(SwapKind.BESIDE, runs=True) is SwapPhase.STARTING


def test_lives_end_soon_while_requests_wait_and_no_sooner_than_asked() -> None:
    assert grace_of(changing(SwapKind.INSTEAD), 5.0) == SWAP_GRACE
    assert grace_of(changing(SwapKind.INSTEAD), 0.0) == 0.0
    assert grace_of(changing(SwapKind.INSTEAD, rolling_back="it broke"), 5.0) == 0.0
    assert grace_of(changing(SwapKind.BESIDE), 5.0) == 5.0
    assert grace_of(changing(SwapKind.INSTEAD, SwapPhase.HOLDING), 5.0) == 5.0
    assert grace_of(msgspec.structs.replace(changing(SwapKind.INSTEAD), successor=None), 5.0) == 5.0


def test_the_pause_between_two_holds_grows_to_a_bound() -> None:
    assert [pause_before_holding(attempts) for attempts in (0, 1, 2, 3, 9)] == [0.0, 1.0, 2.0, 4.0, 30.0]


@pytest.mark.parametrize(
    ("workload", "former_start", "limit"),
    [
        (changing(SwapKind.INSTEAD), 100.0, SOON_LIMIT),
        (changing(SwapKind.INSTEAD), 90.0, 60.0),
        (changing(SwapKind.INSTEAD), 0.0, 60.0),
        (changing(SwapKind.INSTEAD), 200.0, 60.0),
        (changing(SwapKind.BESIDE), 100.0, 60.0),
        (changing(SwapKind.INSTEAD, status=Status.STARTING), 100.0, 60.0),
        (changing(SwapKind.INSTEAD, rolling_back="it broke"), 100.0, 60.0),
    ],
)
def test_a_server_that_used_to_be_ready_soon_has_little_time_while_requests_wait(
    workload: Workload, former_start: float, limit: float
) -> None:
    assert readiness_limit(workload, former_start, 60.0) == limit


def test_a_workload_as_it_will_be_has_the_configuration_and_the_life_of_its_successor() -> None:
    following = succeeding(changing(SwapKind.BESIDE))
    assert (following.config.env_vars, following.generation) == ({"A": "1"}, 9)
    assert succeeding(msgspec.structs.replace(following, successor=None)).generation == 9


def test_clients_were_served_by_what_was_ready() -> None:
    assert is_served(changing(SwapKind.BESIDE))
    assert is_served(changing(SwapKind.BESIDE, status=Status.UNHEALTHY))
    assert not is_served(changing(SwapKind.BESIDE, status=Status.STARTING))
