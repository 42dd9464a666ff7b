"""Sizes are bounded: no module and no function of the product outgrows what one person reads at a glance."""

from __future__ import annotations

import ast
import math
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Sized = tuple[int, str]

DECISIONS = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
NESTING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

MODULE_LINES, MODULE_LINES_P95, MODULE_LINES_MEDIAN = 400, 300, 110
BODY_LINES, BODY_LINES_P95 = 40, 20
BRANCHES, DEPTH, PARAMETERS = 8, 3, 5


@dataclass(frozen=True)
class Function:
    """One function with its measures."""

    where: str
    body: int
    branches: int
    nesting: int
    parameters: int


# Measuring -----------------------------------------------------------------------------------------------------------


def body_lines(function: FunctionNode) -> int:
    """Count the lines of a body, from its first statement after the docstring to its last."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    if not body:
        return 0
    first = min([body[0].lineno, *(each.lineno for each in getattr(body[0], "decorator_list", ()))])
    return (body[-1].end_lineno or body[-1].lineno) - first + 1


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk below a node without entering functions and classes that are defined there."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, SCOPES):
            continue
        yield child
        yield from own_nodes(child)


def branches(function: FunctionNode) -> int:
    """Count the decisions of a function: ``if``, ``elif``, conditional expression, loop, ``except`` and ``case``."""
    return sum(isinstance(node, DECISIONS) for node in own_nodes(function))


def nesting(node: ast.AST) -> int:
    """Return how deep blocks lie in blocks; an ``elif`` is no deeper than its ``if``."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, SCOPES):
            continue
        step = isinstance(child, NESTING) and not _is_elif(child, node)
        deepest = max(deepest, nesting(child) + step)
    return deepest


def _is_elif(child: ast.AST, parent: ast.AST) -> bool:
    return isinstance(child, ast.If) and isinstance(parent, ast.If) and parent.orelse == [child]


def parameters(function: FunctionNode) -> int:
    """Count the parameters of a function; ``self`` and ``cls`` are none."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args]
    if named and named[0].arg in ("self", "cls"):
        named = named[1:]
    variadic = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return len(named) + len(arguments.kwonlyargs) + len(variadic)


def functions_of(source: str, name: str) -> list[Function]:
    """Measure every function of a module that has a body."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, FunctionNode)]
    return [
        Function(f"{name}:{each.lineno} {each.name}", body_lines(each), branches(each), nesting(each), parameters(each))
        for each in found
        if body_lines(each)
    ]


def percentile(sizes: Sequence[int], share: float) -> int:
    """Return the size that ``share`` of all sizes do not exceed (nearest rank)."""
    return sorted(sizes)[math.ceil(share * len(sizes)) - 1]


def beyond(sized: Sequence[Sized], limit: int) -> list[Sized]:
    """Return what exceeds a limit, the worst first."""
    return sorted((each for each in sized if each[0] > limit), reverse=True)


# The product ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources(distributions, root: Path) -> dict[str, str]:
    paths = [path for each in distributions for path in sorted((each.folder / "src").rglob("*.py"))]
    assert len(paths) > 50, "the product was not found: nothing would be measured"
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="module")
def modules(sources: dict[str, str]) -> list[Sized]:
    return [(len(text.splitlines()), name) for name, text in sources.items()]


@pytest.fixture(scope="module")
def functions(sources: dict[str, str]) -> list[Function]:
    return [function for name, text in sources.items() for function in functions_of(text, name)]


def test_every_module_is_short(modules: list[Sized], measures: list[str]) -> None:
    measures.append("lines of a module     {:4d}  {}".format(*max(modules)))
    assert beyond(modules, MODULE_LINES) == []


def test_most_modules_are_much_shorter(modules: list[Sized], measures: list[str]) -> None:
    sizes = [size for size, _ in modules]
    middle, high = statistics.median(sizes), percentile(sizes, 0.95)
    measures.append(f"modules               {len(sizes):4d}  median {middle:g} lines, 95th percentile {high}")
    assert middle <= MODULE_LINES_MEDIAN
    assert high <= MODULE_LINES_P95


def test_most_function_bodies_are_very_short(functions: list[Function], measures: list[str]) -> None:
    sizes = [each.body for each in functions]
    high = percentile(sizes, 0.95)
    measures.append(
        f"functions             {len(sizes):4d}  median {statistics.median(sizes):g} lines, 95th percentile {high}"
    )
    assert high <= BODY_LINES_P95


@pytest.mark.parametrize(
    ("measure", "limit"),
    [("body", BODY_LINES), ("branches", BRANCHES), ("nesting", DEPTH), ("parameters", PARAMETERS)],
)
def test_every_function_stays_within(measure: str, limit: int, functions: list[Function], measures: list[str]) -> None:
    sized = [(getattr(each, measure), each.where) for each in functions]
    measures.append(f"{measure} of a function".ljust(22) + "{:4d}  {}".format(*max(sized)))
    assert beyond(sized, limit) == []


# The measures themselves ---------------------------------------------------------------------------------------------


def _measured(source: str) -> Function:
    return functions_of(textwrap.dedent(source), "sample")[0]


def test_a_body_is_counted_without_signature_and_docstring() -> None:
    sample = '''
        def sample(
            one,
            two,
        ):
            """Say something.

            At length.
            """
            first = one

            return first
    '''
    assert _measured(sample).body == 3


def test_a_function_of_a_docstring_alone_is_not_measured() -> None:
    assert functions_of('def sample():\n    """Do nothing."""\n', "sample") == []


def test_a_decorated_inner_function_counts_from_its_decorator() -> None:
    sample = """
        def sample():
            @property
            def inner(): return 1
            return inner
    """
    assert _measured(sample).body == 3


def test_branches_are_decisions_and_not_those_of_inner_functions() -> None:
    sample = """
        def sample(items):
            def inner():
                return 1 if items else 2
            for item in items:
                if item: pass
                elif not item: pass
            while items:
                try: items.pop()
                except IndexError: pass
            match items:
                case []: return 1
                case _: return 2 if items else 3
    """
    assert _measured(sample).branches == 8


def test_nesting_counts_blocks_in_blocks_and_takes_an_elif_for_its_if() -> None:
    flat = """
        def sample(a):
            if a == 1: pass
            elif a == 2: pass
            elif a == 3: pass
            else: pass
    """
    deep = """
        def sample(a):
            with a:
                for b in a:
                    try:
                        if b: pass
                    finally: pass
    """
    assert _measured(flat).nesting == 1
    assert _measured(deep).nesting == 4


def test_an_if_beside_other_statements_of_an_else_is_deeper() -> None:
    sample = """
        def sample(a):
            if a: pass
            else:
                a = 1
                if a: pass
    """
    assert _measured(sample).nesting == 2


def test_self_and_cls_are_no_parameters_and_every_other_kind_is() -> None:
    assert _measured("def sample(self, a, /, b, *c, d, **e): return 1").parameters == 5
    assert _measured("def sample(cls): return 1").parameters == 0


def test_an_async_function_is_measured_like_any_other() -> None:
    sample = "async def sample(a):\n    async for b in a:\n        async with b:\n            pass\n"
    assert functions_of(sample, "sample") == [Function("sample:1 sample", 3, 1, 2, 1)]


def test_percentiles_take_the_nearest_rank() -> None:
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([7], 0.95) == 7
    assert percentile([1] * 18 + [90, 90], 0.95) == 90


def test_what_exceeds_a_limit_is_named_with_the_worst_first() -> None:
    assert beyond([(3, "a"), (5, "b"), (9, "c")], 4) == [(9, "c"), (5, "b")]
    assert beyond([(4, "a")], 4) == []
