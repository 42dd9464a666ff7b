"""The settings of the egress."""

import pytest

from thv_core.errors import SettingsError
from thv_core.spi import Surroundings
from thv_egress.driver import NameEgress
from thv_egress.settings import settings_from


def test_without_settings_the_defaults_hold():
    settings = settings_from({})
    assert (settings.pool, settings.max_connections, settings.idle_timeout) == ("11.254.0.0/16", 256, 300.0)
    assert (settings.log_bytes, settings.log_files, settings.allowance) == (8 << 20, 4, 0)


def test_every_setting_can_be_chosen():
    given = {
        "pool": "198.18.0.0/15",
        "max_connections": 10,
        "max_bytes": "1GiB",
        "idle_timeout": 20,
        "log_size": "1MB",
        "log_files": 2,
    }
    settings = settings_from(given)
    assert (settings.allowance, settings.log_bytes, settings.idle_timeout) == (1 << 30, 10**6, 20.0)
    assert settings.pool == "198.18.0.0/15"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"poll": "1"}, "poll is not a setting"),
        ({"pool": "11.254.0.1/16"}, "host bits"),
        ({"pool": "nonsense"}, "no IPv4 network"),
        ({"pool": "fd00::/64"}, "no IPv4 network"),
        ({"pool": "10.0.0.0/7"}, "/8 to /28"),
        ({"pool": "11.254.0.0/29"}, "/8 to /28"),
        ({"pool": "127.0.0.0/8"}, "apart"),
        ({"pool": "224.0.0.0/8"}, "apart"),
        ({"pool": "0.0.0.0/8"}, "no addresses of hosts"),
        ({"pool": 7}, "must be text"),
        ({"max_connections": 0}, "at least 1"),
        ({"max_connections": "many"}, "whole number"),
        ({"idle_timeout": 0}, "at least 1"),
        ({"log_size": "big"}, "log_size"),
        ({"log_size": "1KiB"}, "64KiB"),
        ({"log_size": ""}, "log_size"),
        ({"max_bytes": "x"}, "max_bytes"),
        ({"log_files": 1}, "at least 2"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(given, words, tmp_path):
    with pytest.raises(SettingsError) as caught:
        NameEgress.from_settings(given, Surroundings(tmp_path, tmp_path))
    assert words in str(caught.value)
    assert next(iter(given)) in str(caught.value)
