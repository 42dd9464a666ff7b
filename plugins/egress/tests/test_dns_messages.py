"""DNS packets, well-formed and hostile."""

import random
import struct

import pytest

from thv_egress import dns_messages as dns


def test_a_question_is_read(dns_packets):
    query = dns.parse(dns_packets.query("Api.Example.test", identifier=0xABCD))
    assert (query.identifier, query.name, query.kind, query.group) == (0xABCD, "api.example.test", 1, 1)
    assert query.standard
    assert not query.extended


def test_an_answer_repeats_the_question_in_its_own_letters(dns_packets):
    packet = dns_packets.query("ApI.tEsT", identifier=0x1234)
    response = dns.answer(dns.parse(packet), dns.Code.NO_ERROR, b"\x0b\xfe\0\2")
    assert response[:2] == b"\x12\x34"
    assert response[12 : len(packet)] == packet[12:]
    assert dns_packets.decoded(response) == (0, ["11.254.0.2"])
    flags = struct.unpack_from("!H", response, 2)[0]
    assert flags & 0x8180 == 0x8180, "a response, recursion desired and available"


def test_an_extended_query_gets_an_extended_answer(dns_packets):
    query = dns.parse(dns_packets.query("a.test", extended=True))
    assert query.extended
    response = dns.answer(query, dns.Code.NO_SUCH_NAME)
    assert struct.unpack_from("!6H", response)[5] == 1
    assert response.endswith(b"\0\0\x29\x04\xd0\0\0\0\0\0\0")
    assert dns_packets.decoded(response) == (3, [])


def test_the_root_and_binary_labels_are_no_names(dns_packets):
    assert dns.parse(dns_packets.query("")).name == ""
    assert dns.parse(dns_packets.query("\xff\xfe.test")).name == ""
    with_dot = struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\3a.b\0" + struct.pack("!HH", 1, 1)
    assert dns.parse(with_dot).name == ""


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\0" * 11,
        b"\0" * 12,
        struct.pack("!6H", 1, 0x8000, 1, 0, 0, 0) + b"\1a\0\0\1\0\1",
        struct.pack("!6H", 1, 0, 2, 0, 0, 0) + b"\1a\0\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 1, 0, 0) + b"\1a\0\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\1a\0\0\1\0",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\1a",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\x3fa",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",
    ],
)
def test_what_is_no_query_is_not_read(packet):
    assert dns.parse(packet) is None


def test_random_bytes_never_raise():
    chance = random.Random(4)
    for _ in range(20000):
        packet = chance.randbytes(chance.randrange(60))
        if chance.random() < 0.7:
            packet = struct.pack("!6H", 1, 0, 1, 0, 0, chance.randrange(2)) + packet
        query = dns.parse(packet)
        assert isinstance(dns.malformed(packet) if query is None else dns.answer(query, dns.Code.REFUSED), bytes)


def test_a_response_is_never_answered():
    assert dns.malformed(b"\0\1\x80\0" + b"\0" * 8) == b""
    assert dns.malformed(b"short") == b""
    assert dns.malformed(b"\0\1" + b"\0" * 10)[:4] == b"\0\1\x80\x81"
