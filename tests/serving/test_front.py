"""What clients may not say to Serve, and connections that are bounded."""

import asyncio
import re
import socket
from importlib import import_module
from threading import Thread

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from uvicorn.config import HTTP_PROTOCOLS

from tests.serving.exchange import exchange
from umc_ray.serving import connections
from umc_ray.serving.connections import MOST_HEAD_BYTES, BoundedConnection
from umc_ray.serving.front import SERVE_HEADERS, Front
from umc_ray.serving.haproxy import FRONT, HAPROXY
from umc_ray.serving.resending import Resending
from umc_ray.serving.shedding import Shedding


def front_that_ray_finds():
    module, function = next(iter(FRONT.values())).split(":")
    return getattr(import_module(module), function)()


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", HTTP_PROTOCOLS["auto"])
    app = Starlette(
        routes=[Route("/{rest:path}", lambda request: JSONResponse(dict(request.headers)))],
        middleware=front_that_ray_finds()[::-1],  # of Ray's list the last one is the outermost
    )
    return TestClient(app)


@pytest.mark.parametrize("name", [*SERVE_HEADERS, "SERVE_MULTIPLEXED_MODEL_ID", "X_Session-Id"])
@pytest.mark.parametrize("value", [b"1", b"\xff"])
def test_clients_do_not_command_serve(client, name, value):
    said = client.get("/", headers={name: value, "x-other": "kept"}).json()
    assert "x-other" in said
    assert name.lower() not in said


@pytest.mark.parametrize(
    ("path", "status"), [("/-/routes", 404), ("/-/", 404), ("/-/healthz", 200), ("/v1/a", 200)]
)
def test_serve_does_not_list_the_campaigns(client, path, status):
    assert client.get(path).status_code == status


def test_serve_does_not_say_where_it_lists_them():
    async def serve(scope, receive, send):
        is_plain = scope["path"] != "/v1/none"
        kind = b"text/plain" if is_plain else b"application/json"
        start = {"status": 404, "headers": [(b"content-type", kind)]}
        await send({"type": "http.response.start", **start})
        for part in (b"see ", b"/-/routes"):
            await send({"type": "http.response.body", "body": part, "more_body": part == b"see "})

    client = TestClient(Front(serve))
    hidden = client.options("/other")
    assert (hidden.status_code, hidden.json()["error"]) == (404, "Not Found")
    assert client.get("/v1/none").text == "see /-/routes"  # what the application says stays


NONE = '{"error":"Not Found","errors":[]}'


@pytest.mark.ray
@pytest.mark.parametrize("line", ["OPTIONS *", "GET *", "GET /none"])
def test_what_is_not_there_is_not_found_and_no_more(server, line):
    address = server.url.removeprefix("http://").split(":")
    head = f"{line} HTTP/1.1\r\nHost: {address[0]}\r\nConnection: close\r\n\r\n"
    answer = exchange(address, head.encode())
    assert (answer.status, answer.text.partition("\r\n\r\n")[2]) == (404, NONE)


def test_there_are_no_web_sockets(client):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/score"):
        pass


@pytest.mark.parametrize(("on", "inner"), [("0", Resending), ("1", Shedding)])
def test_a_proxy_sends_again_and_a_replica_behind_haproxy_sheds(monkeypatch, on, inner):
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", HTTP_PROTOCOLS["auto"])
    monkeypatch.setenv(HAPROXY, on)
    assert front_that_ray_finds()[0].cls is inner
    config = uvicorn.Config(lambda: None)
    config.load()
    assert config.http_protocol_class is BoundedConnection


@pytest.fixture
def address(monkeypatch):
    """A server that answers before it has read the body, and waits half a second for a head."""
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.5)

    async def app(scope, receive, send):
        hosts = [(b"x-" + name, value) for name, value in scope["headers"] if name == b"host"]
        await send({"type": "http.response.start", "status": 200, "headers": hosts})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=BoundedConnection, lifespan="off", timeout_keep_alive=3600)
    server = uvicorn.Server(config)
    thread = Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()
    listener.close()


def answered(address, data):
    """Send data, and return what comes until the server closes the connection."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(data)
        parts = []
        try:
            while part := connection.recv(10_000):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


START = b"POST / HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("sent", [b"", b"P", START, START + b"X: "])
def test_a_head_that_does_not_end_is_not_waited_for(address, sent):
    assert answered(address, sent) == b""


def test_the_rest_of_a_request_that_was_answered_is_not_waited_for(address):
    assert answered(address, START + b"Content-Length: 9\r\n\r\n{").startswith(OK)


def test_the_head_of_a_second_request_is_not_waited_for(address):
    got = answered(address, START + b"Content-Length: 0\r\n\r\nGET / HT")
    assert got.count(OK) == 1


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /",
        START + b"X: ",
        START + b"Transfer-Encoding: chunked\r\n\r\n1;",
        START + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ",
    ],
    ids=["url", "header", "chunk extension", "trailer"],
)
def test_a_head_has_a_limit(address, endless):
    """Nobody reads the rest: the server would take it forever, and keep it."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(endless)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(1000):
                connection.sendall(b"x" * MOST_HEAD_BYTES)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * MOST_HEAD_BYTES),
        START + b"X: %s\r\n\r\n" % (b"x" * MOST_HEAD_BYTES),
        START + b"X: x\r\n" * (MOST_HEAD_BYTES // 6) + b"\r\n",
    ],
    ids=["url", "header", "headers"],
)
def test_a_head_that_comes_at_once_has_the_same_limit(address, head):
    assert len(head) < 70_000
    assert answered(address, head).startswith(b"HTTP/1.1 431 ")


def test_a_head_within_the_limit_is_taken(address):
    header = b"X: %s\r\n" % (b"x" * (MOST_HEAD_BYTES - 1000))
    end = b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    assert answered(address, START + header + end).startswith(OK)


def test_connections_beyond_the_most_are_told_to_come_again(address, monkeypatch):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 1)
    with socket.create_connection(address, timeout=30) as first:
        first.sendall(START + b"Content-Length: 0\r\n\r\n")
        assert first.recv(4096).startswith(OK)
        with socket.create_connection(address, timeout=30) as second:
            refusal = second.recv(4096)
        assert refusal.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refusal
        first.sendall(START + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
        assert OK in b"".join(iter(lambda: first.recv(4096), b""))


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Transfer-Encoding: gzip, chunked", 400),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: identity", 400),
        (b"Transfer-Encoding: Chunked", 200),
        (b"Content-Length: 5\r\nExpect: 200-ok", 417),
        (b"Content-Length: 5\r\nExpect: 100-continue, 200-ok", 417),
        (b"Content-Length: 5\r\nExpect: 100-Continue", 200),
        (b"Content-Length: 5\r\nExpect:", 200),
    ],
)
def test_a_coding_or_expectation_that_would_be_ignored_is_refused(address, header, status):
    got = answered(address, START + header + b"\r\nConnection: close\r\n\r\n0\r\n\r\n")
    assert got.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 %d " % status)


END = b"Connection: close\r\n\r\n"


def test_a_request_of_two_hosts_is_refused(address):
    hosts = b"Host: 127.0.0.1\r\nX: x\r\nhost: evil.example\r\n"
    got = answered(address, b"GET / HTTP/1.1\r\n" + hosts + END)
    assert got.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://evil.example/a", b"evil.example"),
        (b"http://evil.example:81/a", b"evil.example:81"),
        (b"http://[2001:db8::1]:81/a", b"[2001:db8::1]:81"),
        (b"/a?b=http://evil.example/", b"127.0.0.1"),
        (b"//evil.example/a", b"127.0.0.1"),
    ],
)
def test_the_host_of_an_absolute_address_counts(address, target, host):
    """RFC 9112, 3.2.2: the Host header must be ignored."""
    got = answered(address, b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + END)
    assert got.startswith(OK)
    assert re.findall(rb"x-host: (.*)\r\n", got) == [host]


def test_requests_in_a_row_are_answered_however_many_they_are(address):
    body = b"x" * 5 * MOST_HEAD_BYTES
    one = START + b"Content-Length: %d\r\n\r\n" % len(body) + body
    last = START + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    assert answered(address, one * 3 + last).count(OK) == 4
