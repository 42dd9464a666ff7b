"""An index is called PyPI only when no other can be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from thv_packages.index_name import OTHER, PYPI, index_name


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, PYPI),
        ({"UV_DEFAULT_INDEX": ""}, PYPI),
        ({"UV_NO_INDEX": "false"}, PYPI),
        ({"UV_NO_INDEX": "1"}, OTHER),
        ({"UV_DEFAULT_INDEX": "https://index.example/simple"}, OTHER),
        ({"UV_INDEX_URL": "https://index.example/simple"}, OTHER),
        ({"UV_INDEX": "https://index.example/simple"}, OTHER),
        ({"UV_EXTRA_INDEX_URL": "https://index.example/simple"}, OTHER),
        ({"UV_FIND_LINKS": "/wheels"}, OTHER),
    ],
)
def test_the_environment_decides(environment, expected, tmp_path: Path):
    assert index_name({"HOME": str(tmp_path), **environment}) == expected


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ('[[index]]\nurl = "https://index.example/simple"\n', OTHER),
        ('index-url = "https://index.example/simple"\n', OTHER),
        ("[pip]\nfind-links = ['/wheels']\n", OTHER),
        ("no-index = true\n", OTHER),
        ("# index-url is not set here\nnative-tls = true\n", PYPI),
        ("\xff", PYPI),
    ],
)
@pytest.mark.parametrize("place", ["UV_CONFIG_FILE", "XDG_CONFIG_HOME", "HOME"])
def test_a_configuration_of_uv_that_names_an_index_decides(place, configuration, expected, tmp_path: Path):
    folders = {"UV_CONFIG_FILE": tmp_path, "XDG_CONFIG_HOME": tmp_path / "uv", "HOME": tmp_path / ".config" / "uv"}
    folders[place].mkdir(parents=True, exist_ok=True)
    file = folders[place] / "uv.toml"
    file.write_text(configuration, encoding="latin-1")
    environment = {place: str(file) if place == "UV_CONFIG_FILE" else str(tmp_path)}

    assert index_name(environment) == expected
