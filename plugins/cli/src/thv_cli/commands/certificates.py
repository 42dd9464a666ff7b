"""``thv config get-ca-cert``, ``set-ca-cert`` and ``unset-ca-cert``: the certificates to trust."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from thv_cli.installation import configuration_file
from thv_core.errors import InvalidRequest

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["get_ca_cert", "set_ca_cert", "unset_ca_cert"]

KEY = "ca_certificate_path"


@click.command("get-ca-cert")
@click.pass_obj
def get_ca_cert(console: Console) -> None:
    """Print the path of the certificates to trust."""
    path = configuration_file(console.environment).get(KEY)
    if path:
        console.line(str(path))
    else:
        console.message("No CA certificate is currently configured.")


@click.command("set-ca-cert")
@click.argument("path", type=click.Path())
@click.pass_obj
def set_ca_cert(console: Console, path: str) -> None:
    """Trust the certificates in PATH, a file in PEM format."""
    absolute = _certificates(console.directory, path)
    configuration_file(console.environment).set(KEY, absolute)
    console.message(f"Successfully set CA certificate path: {absolute}")


@click.command("unset-ca-cert")
@click.pass_obj
def unset_ca_cert(console: Console) -> None:
    """Trust no other certificates than those of this machine."""
    configuration_file(console.environment).unset(KEY)
    console.message("Successfully removed CA certificate configuration.")


def _certificates(directory: Path, text: str) -> str:
    """Return the absolute path of a file that holds at least one certificate.

    :raises InvalidRequest: when it cannot be read, or holds none.
    """
    import ssl  # only whoever sets certificates reads them

    try:
        path = str((directory / Path(text).expanduser()).absolute())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=path)
    except RuntimeError:
        raise InvalidRequest(f"{text}: there is no such home") from None
    except ssl.SSLError:
        raise _no_certificates(text) from None
    except OSError as error:
        raise InvalidRequest(f"{text} cannot be read: {error.strerror}") from None
    if not context.cert_store_stats()["x509"]:
        raise _no_certificates(text)
    return path


def _no_certificates(text: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text} holds no certificate in PEM format", hint="It begins with -----BEGIN CERTIFICATE-----."
    )
