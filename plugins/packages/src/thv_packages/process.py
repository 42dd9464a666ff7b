"""Start programs that prepare a package: a time limit, bounded output, and only the environment that they need."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from thv_core.errors import PreparationFailed

__all__ = ["Finished", "Program", "passed_environment"]

_LONGEST_OUTPUT = 8 * 1024 * 1024
_STATUS_TIMED_OUT = -1

_PASSED = re.compile(
    r"""HOME|PATH|TMPDIR|XDG_CONFIG_HOME|NETRC
    |SSL_CERT_FILE|SSL_CERT_DIR|SSL_CLIENT_CERT
    |(HTTP|HTTPS|ALL|NO)_PROXY|(http|https|all|no)_proxy
    |UV_(CONFIG_FILE|DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|INDEX_STRATEGY
        |KEYRING_PROVIDER|SYSTEM_CERTS|NATIVE_TLS|INSECURE_HOST|EXCLUDE_NEWER|OFFLINE|PRERELEASE
        |HTTP_TIMEOUT|HTTP_CONNECT_TIMEOUT|HTTP_RETRIES)
    |UV_INDEX_\w+_(USERNAME|PASSWORD)""",
    re.VERBOSE,
)
"""Where the index is, how it is reached and whom to trust; nothing else of the user's environment."""


@dataclass(frozen=True)
class Finished:
    """How a program ended: ``output`` and ``errors`` are its standard streams, cut at 8 MiB."""

    status: int
    output: str
    errors: str

    @property
    def timed_out(self) -> bool:
        """Whether it was killed because its time was over."""
        return self.status == _STATUS_TIMED_OUT


@dataclass(frozen=True)
class Program:
    """Something to run: ``seconds`` is its time limit, ``keep`` a descriptor that it inherits (or none)."""

    arguments: Sequence[str]
    directory: str
    seconds: float
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    text: str = ""
    keep: tuple[int, ...] = ()

    def run(self) -> Finished:
        """Run it to its end or the end of its time, when its whole process group is killed.

        The streams are files, so that a grandchild which holds them open cannot make this wait.

        :raises PreparationFailed: when it cannot be started.
        """
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            given.write(self.text.encode())
            given.seek(0)
            status = self._status((given.fileno(), output.fileno(), errors.fileno()))
            output.seek(0)
            errors.seek(0)
            return Finished(
                status=status,
                output=output.read(_LONGEST_OUTPUT).decode("utf-8", "replace"),
                errors=errors.read(_LONGEST_OUTPUT).decode("utf-8", "replace"),
            )

    def _status(self, streams: tuple[int, int, int]) -> int:
        try:
            process = subprocess.Popen(
                list(self.arguments),
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                cwd=self.directory,
                env=dict(self.environment),
                pass_fds=self.keep,
                start_new_session=True,
            )
        except OSError as error:
            raise PreparationFailed(
                f"{self.arguments[0]} cannot be started: {error.strerror}",
                evidence=[str(error.filename)] if error.filename else (),
                hint="Check that the path is there and may be used.",
            ) from error
        try:
            return process.wait(self.seconds)
        except subprocess.TimeoutExpired:
            return _STATUS_TIMED_OUT
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def passed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what programs that prepare a package may know of the user's environment; uv refuses empty variables."""
    return {name: value for name, value in environment.items() if value and _PASSED.fullmatch(name)}
