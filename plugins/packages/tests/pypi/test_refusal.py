"""What uv says becomes an error of thv, without the credentials of the index."""

from __future__ import annotations

import pytest

from thv_core.errors import PackageNotFound, PreparationFailed, Unavailable
from thv_packages.pypi.refusal import NoWheel, refusal
from thv_packages.pypi.requirement import Requirement

SERVER = Requirement("server", version="1.0")


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        ("Because server was not found in the package registry and you require server", PackageNotFound, "no package"),
        ("Because server[x] was not found in the provided package locations", PackageNotFound, "no package"),
        ("Because my-server was not found in the package registry", PreparationFailed, "cannot be installed"),
        ("Because there is no version of server==1.0 and you require", PackageNotFound, "no version 1.0 of server"),
        ("Because there is no version of server[x]==1.0", PackageNotFound, "no version 1.0 of server"),
        ("Because there is no version of my-server==1.0", PreparationFailed, "cannot be installed"),
        ("Because server was not found in the cache\n\nhint: the network was disabled", Unavailable, "not answer"),
        ("Failed to fetch: x\n  cause: HTTP status server error (503)", Unavailable, "not answer"),
        ("Failed to download `a`\n  cause: Hash mismatch for `a`", PreparationFailed, "the index announced"),
        ("Because a==2 has no usable wheels and", NoWheel, "a 2 has only a source distribution"),
        ("a==2 has no wheels with a matching Python ABI tag", NoWheel, "a 2 has no wheel for this machine"),
        ("Because all versions of a have no usable wheels", NoWheel, "a has only a source distribution"),
        ("Failed to build `a==2`\n  cause: x", PreparationFailed, "a could not be built from source"),
        ("Failed to download and build `a==2`", PreparationFailed, "a could not be built from source"),
        ("(>=3.11.2) does not satisfy Python>=3.13,<4 and", PreparationFailed, "needs Python >=3.13,<4"),
        ("server==1.0 requires Python >=3.13, <4, and", PreparationFailed, "needs Python >=3.13, <4"),
        ("something new", PreparationFailed, "server==1.0 cannot be installed"),
    ],
)
def test_each_message_of_uv_becomes_the_documented_error(message, kind, text):
    error = refusal(SERVER, message, (), "PyPI")

    assert type(error) is kind
    assert text in error.message
    assert error.hint


def test_credentials_of_the_index_are_not_shown():
    error = refusal(SERVER, "Failed to fetch: https://user:hunter2@index.example/simple/server/", (), "PyPI")

    assert "hunter2" not in str(error)
    assert "https://***@index.example/simple/server/" in str(error)


def test_the_evidence_is_bounded():
    error = refusal(SERVER, "\n".join("x" * 1000 for _ in range(1000)), (), "PyPI")

    assert len(error.evidence) == 8
    assert max(map(len, error.evidence)) == 400


def test_a_prepared_version_is_offered_when_the_index_is_silent():
    prepared = [
        Requirement("other", version="3"),
        Requirement("server", ("x",), "0.9"),
        Requirement("server", (), "0.8"),
    ]

    silent = refusal(SERVER, "Failed to fetch", prepared, "PyPI")
    assert silent.hint == "Prepared here already:  thv run uvx://server[x]@0.9"


def test_a_missing_version_offers_the_newest_and_not_what_happens_to_be_prepared():
    prepared = [Requirement("server", (), "0.8")]

    missing = refusal(SERVER, "Because there is no version of server==1.0", prepared, "PyPI")
    assert missing.hint == "The newest:  thv run uvx://server"


def test_an_index_of_the_user_is_not_called_pypi():
    messages = (
        "server was not found in the",
        "no version of server==1.0",
        "Failed to fetch",
        "invalid peer certificate",
    )

    errors = [refusal(SERVER, message, (), "the package index") for message in messages]

    assert all(error.message.startswith("the package index") for error in errors), errors


def test_a_certificate_that_is_not_trusted_is_said_in_one_line_without_the_advice_of_uv():
    message = """error: Failed to fetch: https://me:hunter2@index.example/simple/server/
  cause: error sending request for url (https://index.example/simple/server/)
  cause: client error (Connect)
  cause: invalid peer certificate: UnknownIssuer

hint: Consider enabling use of system TLS certificates with the `--system-certs` command-line flag
"""
    error = refusal(SERVER, message, (Requirement("server", (), "0.8"),), "PyPI")

    assert error.message == "PyPI's certificate is not trusted here"
    assert error.evidence == ("index.example: invalid peer certificate: UnknownIssuer",)
    assert error.hint == "Set SSL_CERT_FILE to your CA bundle, and run it again."


def test_the_evidence_advises_no_option_of_uv():
    message = "error: Failed to fetch\n  cause: a-b--c\n\nhint: try `--system-certs`\nhint: or (--offline)"

    assert refusal(SERVER, message, (), "PyPI").evidence == ("Failed to fetch", "a-b--c")
