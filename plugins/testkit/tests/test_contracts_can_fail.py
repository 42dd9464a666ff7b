"""A check that cannot fail is worthless: each contract catches every wrong implementation in the folder ``wrong``."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

WRONG = Path(__file__).parent / "wrong"


class OnlyWhatShouldFail:
    """Runs the tests that each class names in ``caught_by``, and remembers which of them failed."""

    def __init__(self):
        self.expected, self.failed = set(), set()

    def pytest_collection_modifyitems(self, items):
        for item in items:
            name = item.nodeid.split("::")[1]
            self.expected |= {(name, test) for test in item.cls.caught_by}
        items[:] = [item for item in items if not item.cls.caught_by or item.originalname in item.cls.caught_by]

    def pytest_runtest_logreport(self, report):
        if report.failed and report.when == "call":
            _, name, test = report.nodeid.split("::", 2)
            self.failed.add((name, test.partition("[")[0]))


@pytest.mark.parametrize("kind", sorted(file.stem for file in WRONG.glob("*.py")))
def test_every_wrong_implementation_is_caught_by_the_test_that_it_names(pytester, kind):
    pytester.makepyfile(test_wrong=(WRONG / f"{kind}.py").read_text())
    seen = OnlyWhatShouldFail()
    pytester.inline_run("-p", "no:cacheprovider", "-p", "no:randomly", plugins=[seen])
    assert seen.expected
    assert seen.failed == seen.expected
