"""Package indexes as pages of a site of the test network: PyPI's simple API (PEP 503) and npm's registry."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path

from harness.sites import Site


def offer_python(site: Site, name: str, files: list[Path]) -> None:
    """Offer wheels and source distributions of one project below ``/simple/``."""
    links = "".join(f'<a href="/files/{file.name}#sha256={_sha256(file)}">{file.name}</a>\n' for file in files)
    site.pages[f"/simple/{name}/"] = ("text/html", f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
    for file in files:
        site.pages[f"/files/{file.name}"] = ("application/octet-stream", file.read_bytes())


def offer_npm(site: Site, root: str, manifest: dict[str, object], files: dict[str, str]) -> None:
    """Offer version of one npm package below ``/``; ``root`` is the URL of the site."""
    name, version = str(manifest["name"]), str(manifest["version"])
    tarball = packed({"package/package.json": json.dumps(manifest), **{f"package/{k}": v for k, v in files.items()}})
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    path = f"/{name}/-/{name}-{version}.tgz"
    dist = {"tarball": f"{root.rstrip('/')}{path}", "integrity": integrity, "shasum": hashlib.sha1(tarball).hexdigest()}
    described = {**manifest, "dist": dist}
    if "scripts" in manifest:
        described["hasInstallScript"] = True
    document = {
        "name": name,
        "description": manifest.get("description", ""),
        "dist-tags": {"latest": version},
        "versions": {version: described},
        "time": {version: "2026-01-01T00:00:00.000Z"},
    }
    site.pages[f"/{name}"] = ("application/json", json.dumps(document).encode())
    site.pages[path] = ("application/octet-stream", tarball)


def packed(files: dict[str, str]) -> bytes:
    """Return a compressed tar archive of files with these texts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text.encode()), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def sdist(folder: Path, name: str, setup: str, module: str) -> Path:
    """Write a source distribution of version 1.0 with a ``setup.py`` and one module; return its path."""
    module_name = name.replace("-", "_")
    top = f"{module_name}-1.0"
    project = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    path = folder / f"{top}.tar.gz"
    path.write_bytes(
        packed(
            {
                f"{top}/pyproject.toml": project,
                f"{top}/setup.py": setup,
                f"{top}/PKG-INFO": metadata,
                f"{top}/{module_name}.py": module,
            }
        )
    )
    return path


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
