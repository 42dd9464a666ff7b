from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import InvalidRequest
from thv_core.spi import Deployment, DeploymentPlan, Environment, Grant, PackageRoot
from thv_sandbox.accounts import Account
from thv_sandbox.hosts import this_host
from thv_sandbox.targets import check_targets, mounts
from thv_sandbox.view import Host, arguments, data_files, environment

HOST = Host(
    uid=1000, gid=100, links={"/bin": "usr/bin", "/etc/localtime": "/usr/share/zoneinfo/UTC"}, folders=("/lib64",)
)


def plan_with(*grants: Grant, root: str = "/cache/root", view: tuple[str, ...] = (), **values: str) -> DeploymentPlan:
    return DeploymentPlan(
        deployment=Deployment(workload="notes", generation=3),
        command=("serve", "--fast"),
        root=PackageRoot(path=root, command=("serve",), view=view),
        environment=Environment(values=values),
        grants=grants,
    )


def read(target: str, source: str = "/source") -> Grant:
    return Grant(source=source, target=target, writable=False)


def write(target: str, source: str = "/source") -> Grant:
    return Grant(source=source, target=target, writable=True)


def words(plan: DeploymentPlan) -> str:
    sources = {grant.target: number for number, grant in enumerate(plan.grants, start=8)}
    sources = {mount.target: mount.target for mount in mounts(plan)} | sources
    return " ".join(arguments(plan, HOST, {"/etc/passwd": 7}, sources))


def test_the_command_line_has_every_namespace_and_no_capability() -> None:
    text = words(plan_with())
    for word in ("user", "ipc", "pid", "net", "uts", "cgroup-try"):
        assert f"--unshare-{word}" in text
    assert "--disable-userns --cap-drop ALL --new-session" in text
    assert "--hostname notes" in text
    for absent in ("--die-with-parent", "--setenv", "--clearenv", "--share-net", "--dev-bind"):
        assert absent not in text


def test_the_root_becomes_read_only_last() -> None:
    assert words(plan_with(write("/data"))).endswith("--bind-fd 8 /data --chdir /home/mcp --remount-ro /")


def test_a_hidden_folder_is_empty_and_stays_so() -> None:
    host = dataclasses.replace(HOST, hidden=("/usr/lib/tool",))
    text = " ".join(arguments(plan_with(), host, {}, {mount.target: mount.target for mount in mounts(plan_with())}))
    shown, empty = text.index("--ro-bind /usr /usr"), text.index("--tmpfs /usr/lib/tool --remount-ro /usr/lib/tool")
    assert shown < empty


def test_only_what_every_server_sees_can_be_hidden(tmp_path: Path) -> None:
    wanted = ("/usr/share", "/usr/../etc", "/usr/absent", str(tmp_path), "/usr")
    assert this_host(Account(uid=1, gid=1), wanted).hidden == ("/usr/share",)


def test_links_of_the_host_are_reproduced_and_folders_bound() -> None:
    text = words(plan_with())
    assert "--symlink usr/bin /bin" in text
    assert "--symlink /usr/share/zoneinfo/UTC /etc/localtime" in text
    assert "--ro-bind-try /lib64 /lib64" in text


def test_private_keys_beside_the_certificates_are_not_shown() -> None:
    shown = words(plan_with()).split()
    assert "/etc/ssl/certs" in shown
    assert {"/etc", "/etc/ssl", "/etc/pki", "/etc/pki/tls"}.isdisjoint(shown)


def test_the_kernel_s_settings_are_read_only() -> None:
    assert "--proc /proc --remount-ro /proc" in words(plan_with())


def test_private_folders_have_a_size() -> None:
    text = words(plan_with())
    for folder in ("/tmp", "/home/mcp", "/dev/shm"):
        assert f"--size 67108864 --tmpfs {folder}" in text


def test_a_package_is_shown_once_and_not_what_the_system_shows() -> None:
    text = words(plan_with(root="/cache/root", view=("/cache/root/lib", "/opt/python", "/usr/lib/node", "/usr")))
    assert text.count("--ro-bind /cache/root") == 1
    assert "--ro-bind /opt/python /opt/python" in text
    assert "/usr/lib/node" not in text
    assert text.count("--ro-bind /usr /usr") == 1


def test_an_outer_grant_is_mounted_before_an_inner_one() -> None:
    text = words(plan_with(write("/data/out", "/b"), read("/data", "/a")))
    assert text.index("--ro-bind-fd 9 /data") < text.index("--bind-fd 8 /data/out")


def test_a_grant_is_bound_by_its_descriptor_and_never_by_its_path() -> None:
    text = words(plan_with(write("/data", "/home/me/data"), read("/notes", "/home/me/notes")))
    assert "/home/me" not in text


def test_the_environment_is_the_plan_s_over_a_small_declared_one() -> None:
    found = environment(plan_with(LANG="de_DE.UTF-8", TOKEN="x"))
    assert found["LANG"] == "de_DE.UTF-8"
    assert set(found) == {"PATH", "HOME", "PWD", "LANG", "TMPDIR", "USER", "TOKEN"}


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "GLIBC_TUNABLES"])
def test_a_variable_that_bubblewrap_itself_would_obey_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        environment(plan_with(**{name: "/cache/root/evil.so"}))


def test_the_accounts_are_those_of_the_server() -> None:
    files = data_files(plan_with(), HOST)
    assert files["/etc/passwd"].startswith(b"mcp:x:1000:100:mcp:/home/mcp:")
    assert b"mcp:x:100:" in files["/etc/group"]
    assert b"notes" in files["/etc/hosts"]
    assert b"hosts: files dns" in files["/etc/nsswitch.conf"]


@pytest.mark.parametrize(
    "target", ["/", "/usr", "/usr/bin", "/bin", "/lib64", "/etc", "/etc/hosts", "/proc/1", "/dev", "/tmp", "/home"]
)
def test_a_grant_that_would_hide_the_system_is_refused(target: str) -> None:
    with pytest.raises(InvalidRequest, match="would hide"):
        check_targets(plan_with(read(target)))


@pytest.mark.parametrize("target", ["/cache", "/cache/root", "/cache/root/lib", "/opt/python/bin"])
def test_a_grant_that_would_hide_the_package_is_refused(target: str) -> None:
    with pytest.raises(InvalidRequest, match="package"):
        check_targets(plan_with(read(target), view=("/opt/python",)))


@pytest.mark.parametrize("root", ["/", "/etc/thing", "/proc/self", "/tmp", "relative"])
def test_a_package_that_would_hide_the_system_is_refused(root: str) -> None:
    with pytest.raises(InvalidRequest):
        check_targets(plan_with(root=root))


def test_nothing_is_mounted_beneath_a_writable_grant() -> None:
    for inner in (read("/data/in"), write("/data/in")):
        with pytest.raises(InvalidRequest, match="may write"):
            check_targets(plan_with(write("/data"), inner))


@pytest.mark.parametrize("target", ["relative", "/a/../etc", "/a//b", "/a/"])
def test_a_target_in_another_form_is_refused(target: str) -> None:
    with pytest.raises(InvalidRequest, match="absolute path"):
        check_targets(plan_with(read(target)))


def test_ordinary_grants_are_accepted() -> None:
    check_targets(plan_with(read("/data"), write("/data/out"), read("/home/mcp/notes"), read("/tmp/in"), read("/user")))


def test_memory_folders_get_their_sizes_and_new_ones_are_made_last() -> None:
    plan = changed(plan_with(read("/data")), tmpfs={"/tmp": 1000, "/dev/shm": 2000, "/scratch/b": 3, "/scratch": 4})
    text = words(plan)
    assert "--size 1000 --tmpfs /tmp" in text
    assert "--size 2000 --tmpfs /dev/shm" in text
    assert "--size 67108864 --tmpfs /home/mcp" in text
    assert text.index("--ro-bind-fd 8 /data") < text.index("--size 4 --tmpfs /scratch --size 3 --tmpfs /scratch/b")
    assert text.count("--tmpfs /tmp") == 1
    check_targets(plan)


@pytest.mark.parametrize("path", ["/", "/usr/lib", "/etc", "/dev", "/home", "/run/thv", "relative", "/a/../b"])
def test_a_memory_folder_that_would_hide_the_system_is_refused(path: str) -> None:
    with pytest.raises(InvalidRequest):
        check_targets(changed(plan_with(), tmpfs={path: 1000}))


@pytest.mark.parametrize("path", ["/data", "/data/inner", "/cache", "/cache/root/lib", "/room/inner"])
def test_a_memory_folder_and_what_is_shown_do_not_hide_each_other(path: str) -> None:
    with pytest.raises(InvalidRequest, match="hide each other"):
        check_targets(changed(plan_with(read("/data")), tmpfs={path: 1000}, workspaces=("/room",)))


def test_a_workspace_is_written_at_its_own_path() -> None:
    plan = changed(plan_with(root="/cache/tools"), workspaces=("/cache/room",))
    check_targets(plan)
    assert [(each.source, each.target, each.writable) for each in mounts(plan)] == [
        ("/cache/tools", "/cache/tools", False),
        ("/cache/room", "/cache/room", True),
    ]


def test_what_lies_in_a_workspace_is_shown_by_it_and_nothing_else_is_mounted_there() -> None:
    plan = changed(plan_with(root="/cache/room/package", view=("/opt/python",)), workspaces=("/cache/room",))
    check_targets(plan)
    assert [each.target for each in mounts(plan)] == ["/opt/python", "/cache/room"]
    with pytest.raises(InvalidRequest, match="lies in the workspace"):
        check_targets(changed(plan, grants=(read("/cache/room/data"),)))
    with pytest.raises(InvalidRequest, match="lies in the workspace"):
        check_targets(changed(plan, workspaces=("/cache/room", "/cache/room/inner")))


def test_a_grant_does_not_hide_the_certificates() -> None:
    with pytest.raises(InvalidRequest, match="would hide"):
        check_targets(plan_with(read("/run")))


def changed(plan: DeploymentPlan, **changes: object) -> DeploymentPlan:
    return msgspec.structs.replace(plan, **changes)
