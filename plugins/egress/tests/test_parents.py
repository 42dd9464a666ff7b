"""A corporate proxy on the way out."""

import asyncio
import base64

import pytest

from thv_core.errors import InvalidRequest, Unsupported
from thv_core.spi import Verdict
from thv_egress.parents import Parents


class ParentProxy:
    """A proxy that keeps the heads of what it is asked, and connects a tunnel to its own echo."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"):
        self.answer = answer
        self.heads = []

    async def handle(self, reader, writer):
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(self.answer)
        while data := await reader.read(65536):
            writer.write(data)
        writer.write_eof()


def variables(port, **others):
    return {"HTTPS_PROXY": f"http://me:p%40ss@127.0.0.1:{port}", "HTTP_PROXY": f"127.0.0.1:{port}", **others}


def test_a_transparent_connection_takes_a_tunnel_and_its_name_is_not_resolved_here(world, run):
    async def scene():
        async with world() as here:
            parent = ParentProxy(b"HTTP/1.1 200 OK\r\n\r\nbanner")
            port, target = await here.serve(parent.handle), 15432
            here.open(f"db.test:{target}", ports=[target], proxies=variables(port))
            _, (address,) = await here.look_up("db.test")
            reader, writer = await here.connect(address, target)
            assert await reader.readexactly(6) == b"banner"
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.write_eof()
            assert await reader.read() == b""
            (record,) = await here.recorded()
            assert (record.verdict, record.address, record.via) == (Verdict.ALLOWED, "127.0.0.1", f"127.0.0.1:{port}")
            assert (record.sent, record.received) == (5, 11)
            assert here.looked_up == []
            (head,) = parent.heads
            assert head.startswith(f"CONNECT db.test:{target} HTTP/1.1\r\nHost: db.test:{target}\r\n")
            assert "Proxy-Authorization: Basic " + base64.b64encode(b"me:p@ss").decode() in head

    run(scene())


def test_a_plain_request_is_asked_of_the_parent_with_its_whole_url(world, run):
    async def scene():
        async with world() as here:
            parent = ParentProxy(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            port = await here.serve(parent.handle)
            here.open("web.test", proxies=variables(port, HTTP_PROXY=f"http://u:p@127.0.0.1:{port}/"))
            reader, _ = await here.through_proxy(b"GET http://web.test/x HTTP/1.1\r\nHost: web.test\r\n\r\n")
            assert b"200" in await reader.readline()
            head = parent.heads[0]
            assert head.startswith("GET http://web.test/x HTTP/1.1\r\nHost: web.test\r\n")
            assert "Proxy-Authorization: Basic " + base64.b64encode(b"u:p").decode() in head
            (record,) = await here.recorded()
            assert record.via == f"127.0.0.1:{port}"

    run(scene())


def test_a_question_about_the_host_itself_is_not_one_about_the_parent(world, run):
    async def scene():
        async with world() as here:
            parent = ParentProxy(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            port = await here.serve(parent.handle)
            here.open("web.test", proxies=variables(port))
            reader, _ = await here.through_proxy(b"OPTIONS http://web.test HTTP/1.1\r\nHost: web.test\r\n\r\n")
            assert b"200" in await reader.readline()
            assert parent.heads[0].startswith("OPTIONS http://web.test HTTP/1.1\r\n")

    run(scene())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "credentials (407)"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "(403)"),
        (b"HTTP/1.1 418 Teapot\r\n\r\n", "418"),
        (b"SSH-2.0-x\r\n\r\n", "like one"),
        (b"x" * 20_000, "like one"),
    ],
)
def test_a_parent_that_does_not_connect_is_a_failure_with_its_reason(world, run, answer, words):
    async def scene():
        async with world() as here:
            port = await here.serve(ParentProxy(answer).handle)
            here.open("web.test", proxies=variables(port))
            reader, _ = await here.through_proxy(b"CONNECT web.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 502 " in await reader.readline()
            (record,) = await here.recorded()
            assert record.verdict is Verdict.FAILED
            assert words in record.reason

    run(scene())


def test_a_parent_that_says_nothing_is_given_up(world, run, monkeypatch):
    monkeypatch.setattr("thv_egress.dialing.CONNECT_TIMEOUT", 0.3)

    async def silent(reader, writer):
        await reader.read()

    async def scene():
        async with world() as here:
            port = await here.serve(silent)
            here.open("web.test", proxies=variables(port))
            reader, _ = await here.through_proxy(b"CONNECT web.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 504 " in await reader.readline()

    run(scene())


def test_rules_count_before_the_parent(world, run):
    async def scene():
        async with world() as here:
            parent = ParentProxy()
            port = await here.serve(parent.handle)
            here.open("*", proxies=variables(port))
            for target in ("10.0.0.1:443", "169.254.169.254:80", "web.test:22"):
                reader, _ = await here.through_proxy(f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert b" 403 " in await reader.readline()
            assert parent.heads == []

    run(scene())


def test_what_no_proxy_lists_is_connected_directly_and_checked(world, run):
    async def scene():
        async with world() as here:
            parent = ParentProxy()
            port, target = await here.serve(parent.handle), await here.serve()
            here.names.update({"in.corp.test": ["127.0.0.1"], "evil.corp.test": ["10.0.0.1"]})
            here.open(f".corp.test:{target}", f"127.0.0.1:{target}", proxies=variables(port, NO_PROXY="corp.test"))
            reader, _ = await here.through_proxy(f"CONNECT in.corp.test:{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b" 200 " in await reader.readline()
            reader, _ = await here.through_proxy(
                f"CONNECT evil.corp.test:{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            assert b" 403 " in await reader.readline()
            assert parent.heads == []

    run(scene())


PROXIES = {"HTTP_PROXY": "http://web.proxy.test:8080", "HTTPS_PROXY": "secure.proxy.test:3128"}


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("", "a.test", 443, False),
        ("a.test", "a.test", 443, True),
        ("a.test", "b.a.test", 443, True),
        ("a.test", "ba.test", 443, False),
        (".a.test", "b.a.test", 443, True),
        ("*.a.test", "b.a.test", 443, True),
        ("x, A.TEST", "a.test", 443, True),
        ("x A.TEST", "a.test", 443, True),
        ("*", "a.test", 443, True),
        ("*", "1.1.1.1", 443, True),
        ("a.test:443", "a.test", 443, True),
        ("a.test:443", "a.test", 8443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("fd00::/8", "fd12::1", 443, True),
        ("[fd12::1]:443", "fd12::1", 443, True),
        ("10.0.0.0/8", "a.test", 443, False),
        ("3", "10.1.2.3", 443, False),
        (",, ,", "a.test", 443, False),
    ],
)
def test_no_proxy_is_read_as_curl_reads_it(no_proxy, host, port, direct):
    chosen = Parents({**PROXIES, "NO_PROXY": no_proxy}).choose(host, port)
    assert (chosen is None) is direct


def test_port_80_takes_the_one_proxy_and_every_other_port_the_other():
    parents = Parents(PROXIES)
    assert parents.choose("a.test", 80).label == "web.proxy.test:8080"
    assert parents.choose("a.test", 443).label == "secure.proxy.test:3128"
    assert parents.choose("a.test", 5432).label == "secure.proxy.test:3128"
    assert Parents({}).choose("a.test", 443) is None


def test_a_password_is_in_no_representation():
    parent = Parents({"HTTPS_PROXY": "http://me:hush@proxy.test:1"}).choose("a.test", 443)
    assert parent.authorization
    assert "hush" not in repr(parent)
    assert base64.b64encode(b"me:hush").decode() not in repr(parent)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("https://proxy.test:443", Unsupported),
        ("socks5://proxy.test:1080", Unsupported),
        ("http://", InvalidRequest),
        ("http://:8080", InvalidRequest),
        ("http://proxy.test:port", InvalidRequest),
        ("http://a b", InvalidRequest),
    ],
)
def test_a_variable_that_is_no_proxy_is_refused_with_its_name_and_without_its_password(text, error):
    with pytest.raises(error, match="HTTPS_PROXY"):
        Parents({"HTTPS_PROXY": text})


def test_an_outlet_with_unusable_proxies_does_not_open_and_closes_its_sockets(world, run):
    async def scene():
        async with world() as here:
            with pytest.raises(Unsupported):
                here.open("a.test", proxies={"HTTPS_PROXY": "socks5://me:hush@proxy.test"})
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", here.proxy_port)

    run(scene())
