"""The documentation is complete, true and alive: what exists is described, and what is described exists.

Conventions in the documents, checked here:

* ``<!-- include: PATH -->`` stands before a fenced block that equals the file. Every block of Python or TOML is one.
* ``<!-- checked: profile|run-config -->`` stands before a block of JSON that the product reads; output is ``console``.
* Every ``thv`` line of a block of shell is a command that parses: ``test_command_documentation.py``.
"""

from __future__ import annotations

import inspect
import operator
import re
from pathlib import Path

import msgspec
import pytest

from thv_core import errors, spi
from thv_core.errors import ThvError
from thv_core.loading.kinds import KINDS
from thv_core.model.profile import BUILTIN_PROFILES, PermissionProfile, decode_profile
from thv_core.model.run_config import RunConfig, decode_run_config
from thv_core.state.settings_keys import KEYS, Configuration

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
DECODERS = {"profile": decode_profile, "run-config": decode_run_config}


# Contracts and hooks -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contracts_page(pages) -> dict[str, str]:
    return pages["docs/plugin-contracts.md"].sections


def contracts() -> dict[str, type]:
    """Return every class of the public contract that others implement or are handed, by name."""
    found = {name: getattr(spi, name) for name in spi.__all__}
    return {
        name: value
        for name, value in found.items()
        if inspect.isclass(value)
        and name != "Hooks"
        and (issubclass(value, spi.Driver) or getattr(value, "_is_protocol", False))
    }


def own_methods(owner: type) -> list[str]:
    """Return the public methods that a class defines itself."""
    members = {name: getattr(each, "__func__", each) for name, each in vars(owner).items()}
    return [name for name, each in members.items() if inspect.isfunction(each) and not name.startswith("_")]


@pytest.mark.parametrize("name", sorted(contracts()))
def test_every_contract_and_each_of_its_methods_has_its_place(name: str, contracts_page: dict[str, str]) -> None:
    assert name in contracts_page, f"docs/plugin-contracts.md has no section {name}"
    for method in own_methods(contracts()[name]):
        assert f"`{method}(" in contracts_page[name], f"{name}.{method} is not described"


def test_no_method_is_described_that_does_not_exist(contracts_page: dict[str, str]) -> None:
    for name, contract in contracts().items():
        described = set(re.findall(r"^\| `(\w+)\(", contracts_page[name], flags=re.MULTILINE))
        assert described <= set(own_methods(contract)), name


@pytest.mark.parametrize("hook", own_methods(spi.Hooks))
def test_every_hook_has_its_place(hook: str, contracts_page: dict[str, str]) -> None:
    assert hook in contracts_page


def test_every_kind_of_plugin_is_listed_with_its_group(pages) -> None:
    groups = {kind.group for kind in KINDS.values()}
    assert groups == set(re.findall(r"`(thv\.[a-z]+)`", pages["docs/plugin-contracts.md"].text))


@pytest.mark.parametrize("stage", list(spi.Stage), ids=lambda stage: stage.name)
def test_every_stage_of_the_one_order_is_named(stage: spi.Stage, pages) -> None:
    assert stage.name in pages["docs/plugin-contracts.md"].text


# Settings, documents, environment and errors --------------------------------------------------------------------------


def first_cells(section: str) -> list[str]:
    """Return what is in backticks in the first column of the tables of a section, in order."""
    cells = re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def fields_of(kind: type[msgspec.Struct], path: str = "") -> list[str]:
    """Return the key paths of a document, those of the documents in it included."""
    found: list[str] = []
    for each in msgspec.structs.fields(kind):
        nested = inspect.isclass(each.type) and issubclass(each.type, msgspec.Struct)
        found += fields_of(each.type, f"{path}{each.encode_name}.") if nested else [f"{path}{each.encode_name}"]
    return found


@pytest.fixture(scope="module")
def configuration_page(pages) -> dict[str, str]:
    return pages["docs/configuration.md"].sections


def test_the_settings_are_described_with_their_defaults(configuration_page: dict[str, str]) -> None:
    rows = dict(re.findall(r"^\| `(\S+)` \| (.*?) ?\|", configuration_page["Settings"], flags=re.MULTILINE))
    assert set(rows) == set(KEYS)
    for key in set(KEYS) - {"plugins.NAME.KEY"}:
        assert rows[key].strip("`") == shown(operator.attrgetter(key)(Configuration())), key


def shown(default: object) -> str:
    """Return how a document names the default of a setting."""
    return f"{default:g}" if isinstance(default, float) else str(default or "none")


def test_every_key_of_a_run_config_is_described(configuration_page: dict[str, str]) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", configuration_page["RunConfigs"], flags=re.MULTILINE)
    assert sorted(rows) == sorted(each.encode_name for each in msgspec.structs.fields(RunConfig))


def test_every_key_of_a_permission_profile_is_described(configuration_page: dict[str, str]) -> None:
    described = set(first_cells(configuration_page["Permission profiles"]))
    assert set(fields_of(PermissionProfile)) | set(BUILTIN_PROFILES) == described - {"PATH", "HOST_PATH:SERVER_PATH"}


def variables(text: str) -> set[str]:
    return set(re.findall(r"\b(?:THV|TOOLHIVE)_[A-Z][A-Z_]*[A-Z]\b", text))


def test_the_environment_variables_of_the_code_are_those_of_the_documents(distributions, pages) -> None:
    product = [each for each in distributions if each.name != "thv-testkit"]
    sources = [path.read_text(encoding="utf-8") for each in product for path in (each.folder / "src").rglob("*.py")]
    in_code = variables("\n".join(sources))
    assert "THV_HOME" in in_code, "the variables were not found"
    assert in_code == variables(pages["docs/configuration.md"].text)
    # What ToolHive reads and thv does not is named where the differences are.
    others = [each.text for name, each in pages.items() if name != "docs/compatibility.md"]
    assert variables("\n".join(others)) <= in_code


def error_words() -> list[str]:
    """Return the stable word of every error of the core."""
    classes = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, ThvError)]
    return sorted({each.code for each in classes})


@pytest.mark.parametrize("word", error_words())
def test_every_word_for_an_error_is_explained(word: str, pages) -> None:
    assert f"| `{word}` |" in pages["docs/commands.md"].sections["Errors and exit codes"]


# Examples ------------------------------------------------------------------------------------------------------------


def test_every_included_example_equals_its_file(root: Path, pages) -> None:
    marked = [(name, block) for name, page in pages.items() for block in page.blocks if block.mark[:9] == "include: "]
    assert marked, "no example is included: the search is broken"
    for name, block in marked:
        file = (root / block.mark[9:]).read_text(encoding="utf-8")
        assert block.body.strip("\n") == file.strip("\n"), f"{name}: {block.mark}"


def test_no_example_in_python_or_toml_is_written_by_hand(pages) -> None:
    code = [block for page in pages.values() for block in page.blocks if block.language in ("python", "toml")]
    assert [block for block in code if block.mark[:9] != "include: "] == []


def test_every_example_in_json_is_read_by_the_product(pages) -> None:
    for name, page in pages.items():
        for block in page.blocks:
            if block.language == "json":
                DECODERS[block.mark.removeprefix("checked: ")](block.body, name)


# Links ---------------------------------------------------------------------------------------------------------------


def anchors(page) -> set[str]:
    """Return the anchors that a site generator makes of the headings of a page."""
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", each).strip().lower()) for each in page.sections}


def dead_links(page, page_of, root: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    relative = [link for link in LINK.findall(page.prose) if not re.match(r"[a-z]+:", link)]
    return [link for link in relative if _dead(link, page, page_of, root)]


def _dead(link: str, page, page_of, root: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = (root / page.name).parent / path if path else root / page.name
    if not target.exists():
        return True
    return bool(anchor) and anchor not in anchors(page_of(path, target.read_text(encoding="utf-8")))


def test_no_link_is_dead(root: Path, pages, page_of) -> None:
    found = {name: dead_links(page, page_of, root) for name, page in pages.items()}
    assert {name: links for name, links in found.items() if links} == {}


def test_every_page_is_reached_from_the_first(root: Path, pages) -> None:
    links = set(LINK.findall(pages["docs/index.md"].text))
    assert {path.name for path in (root / "docs").glob("*.md")} - {"index.md"} <= links


# The checks themselves -----------------------------------------------------------------------------------------------


def test_headings_inside_of_fenced_blocks_are_no_headings(page_of) -> None:
    page = page_of("x.md", "# One\nbefore\n```sh\n# not one\n```\n## `thv two`\nafter\n")
    assert list(page.sections) == ["One", "thv two"]
    assert [tuple(block) for block in page.blocks] == [("", "sh", "# not one\n")]


def test_a_block_knows_the_comment_right_before_it(page_of) -> None:
    page = page_of("x.md", "<!-- include: a.py -->\n```python\none\n```\n")
    assert [tuple(block) for block in page.blocks] == [("include: a.py", "python", "one\n")]


def test_a_dead_link_is_found(tmp_path: Path, page_of) -> None:
    (tmp_path / "page.md").write_text("# A Head: line\n", encoding="utf-8")
    good = page_of("other.md", "[a](page.md#a-head-line) [b](https://example.com)")
    bad = page_of("other.md", "[a](gone.md) [b](page.md#gone)")
    assert dead_links(good, page_of, tmp_path) == []
    assert dead_links(bad, page_of, tmp_path) == ["gone.md", "page.md#gone"]
