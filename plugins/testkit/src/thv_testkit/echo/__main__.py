"""Start the echo server: ``--stdio`` or ``--http PORT``, and the ways in which a server can misbehave."""

from __future__ import annotations

import argparse
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Serve until standard input ends or the process is killed, and return the exit code."""
    options = _options(arguments)
    if options.exit is not None:
        sys.stderr.write(f"echo: exits with {options.exit}, as it was told\n")
        return int(options.exit)
    # Under ``python -I /path/of/this/file`` the package is on no path yet.
    sys.path.insert(0, __file__.rpartition("/thv_testkit/")[0])
    if options.hold or options.stubborn:
        from thv_testkit.echo.misbehaviour import hold, ignore_terminate

        hold(options.hold)
        ignore_terminate(options.stubborn)
    return _serve(options)


def _serve(options: argparse.Namespace) -> int:
    from thv_testkit.echo.server import Echo

    if options.http is not None:
        # The HTTP server of the standard library takes as long to import as the interpreter to start.
        from thv_testkit.echo.http_transport import serve_http

        return serve_http(Echo(options.era), options.http)
    from thv_testkit.echo.stdio_transport import serve_stdio

    return serve_stdio(Echo(options.era), garbage=options.garbage, silent=options.silent)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="thv_testkit.echo", description=__doc__)
    transport = parser.add_mutually_exclusive_group()
    transport.add_argument("--stdio", action="store_true", help="speak over standard input and output (the default)")
    transport.add_argument("--http", type=int, metavar="PORT", help="speak HTTP on 127.0.0.1; 0 takes a free port")
    parser.add_argument("--era", choices=("both", "legacy", "modern"), default="both", help="the revisions to speak")
    parser.add_argument("--garbage", type=int, default=0, metavar="N", help="write N lines that are not JSON first")
    parser.add_argument("--silent", action="store_true", help="never answer")
    parser.add_argument("--exit", type=int, metavar="CODE", help="exit at once, after a line on standard error")
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--hold", default="", metavar="PATH", help="fork a child that locks PATH as long as it lives")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
