import pytest

from thv_core.errors import SettingsError
from thv_core.spi import Middleware, MiddlewareRecipe, Stage
from thv_testkit.middleware import MiddlewareContract


class PassesEverything(Middleware):
    stage = Stage.MUTATE


def build(parameters):
    if parameters:
        raise SettingsError(f"{min(parameters)} is not a parameter")
    return PassesEverything()


class TestPassesEverything(MiddlewareContract):
    @pytest.fixture
    def recipe(self):
        return MiddlewareRecipe(name="pass", stage=Stage.MUTATE, build=build)
