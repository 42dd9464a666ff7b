"""An index is called PyPI only when no other can be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from thv_packages.pypi.configuration import OTHER, PYPI, indexes


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
    assert indexes({"HOME": str(tmp_path), **environment}).name == expected


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

    assert indexes(environment).name == expected


def test_the_urls_of_variables_and_files_are_told_in_the_order_in_which_uv_asks(tmp_path: Path):
    file = tmp_path / "uv.toml"
    file.write_text(
        'extra-index-url = ["https://e.example"]\n[[index]]\nname = "x"\nurl = "https://x.example"\n'
        '[[index]]\nurl = "https://d.example"\ndefault = true\n[pip]\nindex-url = "https://p.example"\n'
    )
    environment = {"UV_CONFIG_FILE": str(file), "UV_INDEX": "mine=https://i.example https://j.example"}

    found = indexes(environment)

    assert found.default == "https://p.example"
    assert found.further == ("https://i.example", "https://j.example", "https://x.example", "https://e.example")
    assert indexes({**environment, "UV_DEFAULT_INDEX": "https://v.example"}).default == "https://v.example"
    assert not found.guarded


@pytest.mark.parametrize(
    "environment",
    [
        {"UV_DEFAULT_INDEX": "https://me:hunter2@index.example"},
        {"UV_INDEX": "mine=https://me@index.example"},
        {"UV_INDEX": "mine=https://index.example", "UV_INDEX_MINE_PASSWORD": "hunter2"},
    ],
)
def test_an_index_that_wants_credentials_is_guarded(environment, tmp_path: Path):
    assert indexes({"HOME": str(tmp_path), **environment}).guarded
