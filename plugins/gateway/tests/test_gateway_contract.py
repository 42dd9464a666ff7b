import pytest

from thv_testkit.gateways import GatewayContract, serve_command


class TestHttpGateway(GatewayContract):
    @pytest.fixture
    def gateway_command(self) -> list[str]:
        return serve_command("thv_gateway.gateway:HttpGateway")
