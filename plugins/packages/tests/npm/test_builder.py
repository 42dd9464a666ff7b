"""An npm package becomes a read-only root that runs; its scripts do not run unless they may."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from thv_core.errors import PackageNotFound, PreparationFailed, RuntimeUnavailable, SettingsError, Unavailable
from thv_core.spi import Finished, Job, PackageRoot, Progress
from thv_packages.npm.builder import NpxBuilder
from thv_packages.npm.package_name import parse

MARK = "node -e \"require('fs').writeFileSync('mark.txt', Object.keys(process.env).sort().join(' '))\""


def run(root: PackageRoot) -> str:
    result = subprocess.run(root.command, env=root.environment, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    return result.stdout


def ignore(progress: Progress) -> None:
    del progress


class ClosedWorkshop:
    """A workshop that refuses every job, as on a machine that cannot isolate."""

    def run(self, job: Job) -> Finished:
        raise RuntimeUnavailable(f"{job.name} cannot be isolated here", hint="Install bubblewrap.")


def test_a_package_and_what_it_needs_become_a_root_that_runs(registry, builder, spec, workshop):
    script = "#!/usr/bin/env node\nconsole.log(require('library'))\n"
    registry.package("@a/server", files={"index.js": script}, dependencies={"library": "^1.0.0"})
    registry.package("library", "1.5.0", bin=None, files={"index.js": "module.exports = 'from a library'"})
    seen: list[Progress] = []

    root = builder.build(spec("@a/server"), seen.append, workshop)

    assert run(root) == "from a library\n"
    assert [each.step for each in seen] == ["installing", "prepared"]
    assert root.packages == 2
    assert all(Path(argument).is_absolute() for argument in root.command)


def test_packages_for_other_machines_are_not_installed_and_not_counted(registry, builder, spec, workshop):
    registry.package("server", optionalDependencies={"for-plan9": "1.0.0"})
    registry.package("for-plan9", bin=None, os=["plan9"])

    assert builder.build(spec("server"), ignore, workshop).packages == 1


def test_npm_runs_in_the_workshop_alone_and_reaches_the_registry_alone(registry, builder, spec, workshop, surroundings):
    registry.package("server")

    with pytest.raises(RuntimeUnavailable):
        builder.build(spec("server"), ignore, ClosedWorkshop())
    builder.build(spec("server"), ignore, workshop)

    (job,) = workshop.jobs
    assert job.reach == (registry.host,)
    assert all(path.startswith(str(surroundings.cache)) for path in job.write)
    assert not any("server" in argument for argument in job.command[:4])
    assert list((surroundings.cache / "jobs").iterdir()) == []


def test_a_second_build_starts_no_job_and_touches_no_network(registry, builder, spec, workshop):
    registry.package("server")
    first = builder.build(spec("server"), ignore, workshop)
    registry.stop()
    seen: list[Progress] = []

    assert builder.build(spec("server"), seen.append, ClosedWorkshop()) == first
    assert [(each.step, each.text) for each in seen] == [("prepared", "1 package, 1 MB, already here")]


def test_every_file_is_ours_and_the_lock_with_its_hashes_is_kept(registry, builder, spec, workshop):
    registry.package("server")
    root = builder.build(spec("server"), ignore, workshop)

    assert registry.packages["server"]["1.0.0"]["dist"]["integrity"] in Path(root.path, "lock.json").read_text()
    assert stat.S_IMODE(Path(root.path).stat().st_mode) == 0o755
    for folder, _, names in os.walk(Path(root.path, "tree")):
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o755
        for path in (Path(folder, name) for name in names):
            assert path.lstat().st_uid == os.geteuid()
            assert path.is_symlink() or stat.S_IMODE(path.stat().st_mode) in (0o444, 0o555), path


def test_install_scripts_do_not_run_and_are_told(registry, builder, spec, workshop):
    registry.package("server", dependencies={"native": "1.0.0"})
    registry.package("native", bin=None, scripts={"postinstall": MARK})
    seen: list[Progress] = []

    root = builder.build(spec("server"), seen.append, workshop)

    assert not list(Path(root.path).rglob("mark.txt"))
    skipped = next(each.text for each in seen if each.step == "skipped")
    assert skipped == "install scripts of native were not run (--allow-scripts runs them, isolated)"
    assert [job.name for job in workshop.jobs] == ["install"]


def test_install_scripts_run_in_a_job_of_their_own_when_they_may(registry, surroundings, spec, workshop):
    registry.package("server", scripts={"preinstall": MARK})
    registry.token = "hunter2"
    settings = {"registry": registry.url, "registry_token_secret": "NPM"}
    builder = NpxBuilder.from_settings(settings, dataclasses.replace(surroundings, secret=lambda name: "hunter2"))

    root = builder.build(spec("server", scripts=True), ignore, workshop)

    (mark,) = Path(root.path).rglob("mark.txt")
    assert "PATH" in mark.read_text()
    assert "NPX_REGISTRY_TOKEN" not in mark.read_text()
    assert [(job.name, "hunter2" in repr(job.environment.values)) for job in workshop.jobs] == [
        ("install", True),
        ("rebuild", False),
    ]
    assert not any("hunter2" in path.read_text(errors="replace") for path in Path(root.path).rglob("*.json"))


def test_a_root_with_scripts_is_another_than_one_without(registry, builder, spec, workshop):
    registry.package("server", scripts={"postinstall": MARK})

    without = builder.build(spec("server"), ignore, workshop)
    with_scripts = builder.build(spec("server", scripts=True), ignore, workshop)

    assert without.path != with_scripts.path
    assert builder.build(spec("server"), ignore, workshop) == without
    assert builder.build(spec("server", scripts=True), ignore, workshop) == with_scripts


def test_a_script_that_fails_is_told_with_its_last_words(registry, builder, spec, workshop):
    registry.package("server", scripts={"postinstall": "echo no compiler of Fortran; exit 1"})

    with pytest.raises(PreparationFailed) as caught:
        builder.build(spec("server", scripts=True), ignore, workshop)
    assert caught.value.message == "the install scripts of server@1.0.0 failed"
    assert any("no compiler of Fortran" in line for line in caught.value.evidence)


def test_a_script_that_leaves_a_link_out_of_its_folder_is_refused(registry, builder, spec, workshop, surroundings):
    registry.package("server", scripts={"postinstall": "ln -s /etc/passwd stolen"})

    with pytest.raises(PreparationFailed, match="not safe to keep"):
        builder.build(spec("server", scripts=True), ignore, workshop)
    assert not any(path.is_dir() for path in (surroundings.cache / "roots").iterdir()), "half of a root is left"


@pytest.mark.parametrize(
    ("needed", "why"),
    [
        ("git+ssh://git@127.0.0.1:1/x/y.git", "lies in git"),
        ("http://127.0.0.1:1/x.tgz", "does not answer|another host"),
        ("file:/etc", "does not come from a registry"),
    ],
)
def test_what_does_not_come_from_a_registry_is_refused(needed, why, registry, builder, spec, workshop, surroundings):
    registry.package("server", dependencies={"x": needed})

    with pytest.raises((PreparationFailed, Unavailable), match=why):
        builder.build(spec("server"), ignore, workshop)
    assert not list(surroundings.cache.rglob("complete"))


def test_git_is_never_started(registry, builder, spec, workshop):
    assert shutil.which("git"), "without git this test proves nothing"
    registry.package("server", dependencies={"x": f"git+{registry.url}/x.git"})

    with pytest.raises(PreparationFailed, match="lies in git"):
        builder.build(spec("server"), ignore, workshop)
    assert not any("x.git" in path for path, _ in registry.requests)


def test_a_file_without_a_hash_is_refused(registry, builder, spec, workshop):
    registry.package("server", dist={"integrity": None, "shasum": None})

    with pytest.raises(PreparationFailed, match="no strong hash"):
        builder.build(spec("server"), ignore, workshop)


def test_a_changed_file_is_not_installed(registry, builder, spec, workshop):
    registry.package("server", dist={"integrity": "sha512-" + "A" * 86 + "=="})

    with pytest.raises(PreparationFailed, match="not the one that the registry announced"):
        builder.build(spec("server"), ignore, workshop)


def test_a_file_at_another_host_needs_a_setting(registry, surroundings, spec, workshop):
    other = type(registry)()
    try:
        other.files = registry.files
        registry.package("server", dist={"tarball": f"{other.url}/server/-/server-1.0.0.tgz"})
        with pytest.raises(PreparationFailed, match="another host than the registry"):
            NpxBuilder.from_settings({}, surroundings).build(spec("server"), ignore, workshop)
    finally:
        other.stop()


def test_the_setting_for_another_host_of_files_is_reached_too(registry, surroundings, spec, workshop):
    registry.package("server")
    builder = NpxBuilder.from_settings({"tarball_host": "files.example.com other.example.com:8443"}, surroundings)

    builder.build(spec("server"), ignore, workshop)
    assert {"files.example.com:443", "other.example.com:8443"} < set(workshop.jobs[0].reach)


def test_a_missing_package_is_named_with_what_was_meant(builder, spec, workshop):
    with pytest.raises(PackageNotFound) as caught:
        builder.build(spec("@modelcontextprotocol/server-memroy"), ignore, workshop)
    assert caught.value.message == "the npm registry has no package @modelcontextprotocol/server-memroy"
    assert caught.value.hint == "Did you mean @modelcontextprotocol/server-memory?"


def test_a_missing_version_is_named(registry, builder, spec, workshop):
    registry.package("server")

    with pytest.raises(PackageNotFound) as caught:
        builder.build(spec("server", "9.9.9"), ignore, workshop)
    assert caught.value.message == "the npm registry has no version 9.9.9 of server"


def test_a_needed_package_that_does_not_exist_is_evidence_and_not_the_package_asked_for(
    registry, builder, spec, workshop
):
    registry.package("server", dependencies={"nowhere": "1.0.0"})

    with pytest.raises(PreparationFailed) as caught:
        builder.build(spec("server"), ignore, workshop)
    assert any("nowhere" in line for line in caught.value.evidence)


def test_a_registry_that_wants_a_token_is_told_with_what_to_set(registry, builder, spec, workshop):
    registry.token = "hunter2"

    with pytest.raises(Unavailable) as caught:
        builder.build(spec("server"), ignore, workshop)
    assert "registry_token_secret" in caught.value.hint


def test_nothing_of_a_users_npmrc_but_its_registries_reaches_the_job(registry, surroundings, spec, workshop, tmp_path):
    (tmp_path / ".npmrc").write_text(f"@a:registry={registry.url}/\n//{registry.host}/:_authToken=hunter2\n")
    registry.package("@a/server")
    environment = {key: value for key, value in surroundings.environment.items() if key != "npm_config_registry"}
    builder = NpxBuilder.from_settings({}, dataclasses.replace(surroundings, environment=environment))

    builder.build(spec("@a/server"), ignore, workshop)

    assert not any("hunter2" in authorization for _, authorization in registry.requests)
    assert registry.host in workshop.jobs[0].reach
    assert len({each for each in workshop.jobs[0].reach if not each[0].isdigit()}) == 1


def test_what_is_prepared_is_listed_and_deleted(registry, builder, spec, workshop):
    registry.package("@a/server")
    root = builder.build(spec("@a/server"), ignore, workshop)

    (listed,) = builder.prepared()
    assert (listed.reference, listed.path) == (parse("npx://@a/server@1.0.0").reference, root.path)
    builder.discard(listed)

    assert builder.prepared() == []
    assert not Path(root.path).exists()


def test_a_node_can_be_chosen(registry, surroundings, spec, workshop, node, tmp_path: Path):
    registry.package("server")
    builder = NpxBuilder.from_settings(
        {"node": node.executable},
        dataclasses.replace(
            surroundings, environment={"npm_config_registry": registry.url, "HOME": str(tmp_path), "PATH": "/nowhere"}
        ),
    )

    assert run(builder.build(spec("server"), ignore, workshop)) == "hello\n"


@pytest.mark.parametrize("node", ["/no/such/node", "/bin/true", "/bin/false"])
def test_a_chosen_node_that_is_none_is_named(node, surroundings, spec, workshop):
    with pytest.raises(PreparationFailed, match=node):
        NpxBuilder.from_settings({"node": node}, surroundings).build(spec("server"), ignore, workshop)


@pytest.mark.parametrize("host", ["x:abc", "x:99999", "a/b", "me@x", ""])
def test_a_setting_that_is_no_host_is_named(host, surroundings):
    with pytest.raises(SettingsError, match="tarball_host holds"):
        NpxBuilder.from_settings({"tarball_host": [host]}, surroundings)


def test_a_wrong_setting_is_named(surroundings):
    with pytest.raises(SettingsError, match="nod is not a setting of npx"):
        NpxBuilder.from_settings({"nod": "/usr/bin/node"}, surroundings)
