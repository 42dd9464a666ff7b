"""Middleware that is wrong, each caught by the tests that it names."""

import time

import pytest
from msgspec.structs import replace

from thv_core.errors import SettingsError
from thv_core.spi import Kind, Middleware, MiddlewareRecipe, Reply, Stage
from thv_testkit.middleware import MiddlewareContract


class Passes(Middleware):
    stage = Stage.MUTATE


class SlipsForward(Passes):
    stage = Stage.RECOVER


class RefusesAll(Passes):
    async def on_request(self, exchange):
        return Reply(status=403)


class Synchronous(Passes):
    def on_request(self, exchange):
        return None


class ForgetsToReturn(Passes):
    async def on_message(self, exchange, message):
        """Return nothing."""


class ChangesInPlace(Passes):
    async def on_request(self, exchange):
        if exchange.message is not None:
            exchange.message.params["arguments"] = b"{}"


class MakesAResponseOfEverything(Passes):
    async def on_message(self, exchange, message):
        return replace(message, kind=Kind.RESPONSE)


class ExpectsAMessage(Passes):
    async def on_request(self, exchange):
        assert exchange.message.method


class ExpectsSuccess(Passes):
    async def on_end(self, exchange, outcome):
        assert not outcome.error


class RemembersOne(Passes):
    async def on_request(self, exchange):
        self.session = exchange.session

    async def on_message(self, exchange, message):
        return replace(message, result=b'{"of":"%b"}' % self.session.encode())


class Blocks(Passes):
    async def on_request(self, exchange):
        time.sleep(0.3)  # noqa: ASYNC251 - this is what is wrong with it


def strict(middleware):
    def build(parameters):
        if parameters:
            raise SettingsError(f"{min(parameters)} is not a parameter")
        return middleware()

    return build


def wrong(middleware, *tests, name="pass", build=None):
    recipe = MiddlewareRecipe(name=name, stage=Stage.MUTATE, build=build or strict(middleware))
    members = {"recipe": pytest.fixture(lambda self: recipe), "caught_by": tests}
    return type("TestWrong", (MiddlewareContract,), members)


ONE = Passes()
TestNameless = wrong(Passes, "test_the_recipe_has_a_name_and_a_stage", name=" ")
TestSlipsForward = wrong(SlipsForward, "test_what_is_built_keeps_to_the_stage_of_its_recipe")
TestShared = wrong(Passes, "test_every_workload_gets_one_of_its_own", build=lambda parameters: ONE)
TestTakesAnyParameter = wrong(Passes, "test_wrong_parameters_are_refused", build=lambda parameters: Passes())
TestSynchronous = wrong(Synchronous, "test_every_method_is_asynchronous")
TestRefusesAll = wrong(RefusesAll, "test_an_exchange_passes_and_ends")
TestForgetsToReturn = wrong(ForgetsToReturn, "test_an_exchange_passes_and_ends")
TestChangesInPlace = wrong(ChangesInPlace, "test_a_message_is_replaced_and_never_changed")
TestMakesAResponseOfEverything = wrong(MakesAResponseOfEverything, "test_a_notification_of_the_server_stays_one")
TestExpectsAMessage = wrong(ExpectsAMessage, "test_an_exchange_without_a_message_is_no_error")
TestExpectsSuccess = wrong(ExpectsSuccess, "test_an_exchange_that_failed_ends_too")
TestRemembersOne = wrong(RemembersOne, "test_exchanges_at_the_same_time_do_not_mix")
TestBlocks = wrong(Blocks, "test_it_does_not_block_the_event_loop")
