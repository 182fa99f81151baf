"""Requests that want to stop an endpoint, made from small tables: a value in a place, on a path.

Each is the bytes that a client would send, as no HTTP library would send many of them. All of them
ask the server to close the connection after its answer.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.hostile_values import GOOD, SECRET, Fate, places, values

SCORED = f'{{"samples": [{GOOD}]}}'.encode()


@dataclass(frozen=True)
class Attack:
    """A request, and what has to become of it."""

    name: str
    data: bytes
    fate: Fate = "refused"
    is_of_grid: bool = False
    """Whether it is one of very many, each of a value in a place."""


def attacks(most_bytes: int, labels: tuple[str, ...] = ("bad", "good")) -> list[Attack]:
    """Return all requests; lists of zeros and nested lists nearly fill `most_bytes`."""
    return [
        *_values_in_places(most_bytes, labels),
        *_bodies(),
        *_forms(),
        *_addresses(),
        *_headers(),
        *_targets(),
        *_messages(),
    ]


def request(
    method: str = "POST",
    target: str | bytes = "/v1/score",
    headers: bytes = b"Content-Type: application/json",
    body: bytes = SCORED,
    host: bytes = b"localhost",
    size: bytes | None = None,
) -> bytes:
    """Return the bytes of a request; `size` is what it claims for the length of its body."""
    target = target if isinstance(target, bytes) else target.encode()
    length = size if size is not None else str(len(body)).encode()
    lines = [
        method.encode() + b" " + target + b" HTTP/1.1",
        b"Host: " + host,
        b"Connection: close",
        *([headers] if headers else []),
        *([b"Content-Length: " + length] if length else []),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _values_in_places(most_bytes: int, labels: tuple[str, ...]) -> Iterator[Attack]:
    for where, place in places(labels).items():
        for what, (value, kind) in values(most_bytes).items():
            body = place.body.encode().replace(b"VALUE", value)
            data = request(target=place.path, body=body)
            yield Attack(f"{what} as {where}", data, place.fate(kind), is_of_grid=True)


JSON_PATHS = ("/v1/score", "/v1/embed", "/predict", "/webhook", "/train", "/labelstudio/a/predict")


def _bodies() -> Iterator[Attack]:
    """Bodies that are not the JSON of an object."""
    bodies = {
        "nothing": b"",
        "no JSON": f"{{{SECRET}".encode(),
        "half": SCORED[:-3],
        "two documents": SCORED * 2,
        "a byte order mark": b"\xef\xbb\xbf" + SCORED,
        "UTF-16": SCORED.decode().encode("utf-16"),
        "Latin-1": '{"samples": [{"text": "é"}]}'.encode("latin-1"),
        "NUL behind it": SCORED + b"\0",
        "gzip": gzip.compress(SCORED),
        "XML": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "a form": b"samples=good&text=good",
    }
    for what, body in bodies.items():
        for path in JSON_PATHS:
            yield Attack(f"{what} for {path}", request(target=path, body=body))


def _forms() -> Iterator[Attack]:
    """Labeling forms of Label Studio, which are XML, with or without the control of the task."""
    nine = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    forms = {
        "a tower of entities": f'<!DOCTYPE a [<!ENTITY a0 "{SECRET}">{nine}]><View>&a9;</View>',
        "a long entity": f'<!DOCTYPE a [<!ENTITY x "{"x" * 40_000}">]><V>{"&x;" * 9999}</V>',
        "a file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>',
        "an address": '<!DOCTYPE a SYSTEM "http://169.254.169.254/a.dtd"><View/>',
        "deep elements": "<a>" * 20_000,
        "deep whole elements": "<a>" * 10_000 + "</a>" * 10_000,
        "many attributes": "<View " + " ".join(f'a{i}="1"' for i in range(9000)) + "/>",
        "no control": "<View/>",
        "half": "<View",
        "no XML": SECRET,
        "NUL": "<View>\0</View>",
        "another encoding": '<?xml version="1.0" encoding="UTF-7"?><View/>',
        "a large form": "<View>" + "x" * 150_000 + "</View>",
    }
    for name, form in forms.items():
        body = json.dumps({"label_config": form, "tasks": [{"data": {"text": "good"}}]}).encode()
        for path in ("/predict", "/labelstudio/mood/predict"):
            yield Attack(f"form of {name} for {path}", request(target=path, body=body))


def _addresses() -> Iterator[Attack]:
    """Images to be fetched from this machine or its network, in all spellings of an address."""
    hosts = (
        *("127.0.0.1", "2130706433", "0x7f.1", "017700000001", "127.1", "0", "localhost."),
        *("169.254.169.254", "metadata.google.internal", "127.0.0.1.nip.io", "other@127.0.0.1"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::7f00:1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]"),
        *("[2001:0:7f00:1::]", "[fe80::1%25eth0]", "[::1", "\\u0661\\u0662\\u0667.1", ""),
    )
    urls = [*(f"http://{host}/{SECRET}" for host in hosts), "file:///etc/passwd", "gopher://a:70/"]
    for url in urls:
        for path in ("/v1/score", "/v1/embed"):
            body = f'{{"samples": [{{"image_url": "{url}"}}]}}'.encode()
            yield Attack(f"{url} for {path}", request(target=path, body=body))


def _headers() -> Iterator[Attack]:
    """A good request with a header that means something else, or nothing."""
    json_type = b"Content-Type: application/json"
    types = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
    for path in ("/v1/score", "/v1/embed", "/predict", "/webhook"):
        for kind in (*types, "text/json", "application/xml", "application/json5", "\xff", ""):
            line = f"Content-Type: {kind}".encode("latin-1")
            yield Attack(f"type {kind!r} for {path}", request(target=path, headers=line))
        yield Attack(f"no type for {path}", request(target=path, headers=b""))
    elsewhere = (
        *(f"Origin: {each}" for each in ("https://other.example", "null", "http://127.0.0.1.a.b")),
        *(f"{each}: 10.0.0.1" for each in ("Forwarded", "Via", "X-Forwarded-For", "X-Real-IP")),
        "X-Forwarded-Host: other.example",
        "X-Forwarded-Proto: https",
    )
    for path in ("/v1/score", "/v1/models", "/v1/campaign", "/docs", "/openapi.json", "/setup"):
        method = "POST" if path in ("/v1/score", "/setup") else "GET"
        for header in elsewhere:
            headers = json_type + b"\r\n" + header.encode()
            data = request(method, path, headers, SCORED if method == "POST" else b"")
            yield Attack(f"{header} for {path}", data)
    hosts = ("other.example", "rebound.example:8000", "localhost.other", "[::1", "10.0.0.1", "a b")
    for host in (*hosts, "127.0.0.1@other", "\xff", ""):
        yield Attack(f"host {host!r}", request(host=host.encode("latin-1")))
    yield from _odd_headers(json_type)


def _odd_headers(json_type: bytes) -> Iterator[Attack]:
    serve = ("x-request-id", "x-session-id", "serve_multiplexed_model_id", "traceparent")
    timeouts = ("x-request-timeout-seconds", "x-request-disconnect-disabled")
    for name in (*serve, *timeouts, "authorization", "cookie", "accept", "user-agent", "range"):
        for value in (b"\xff\xfe", b"-1", b"9" * 400, b"?1", "\u0661".encode(), b"a" * 8000):
            line = name.encode() + b": " + value
            data = request(headers=json_type + b"\r\n" + line)
            yield Attack(f"{name}: {value[:6]!r}", data, "taken")
    lines: tuple[tuple[str, bytes, Fate], ...] = (
        ("Content-Encoding gzip", b"Content-Encoding: gzip", "taken"),
        ("no name", b": a", "refused"),
        ("no colon", b"a", "refused"),
        ("a blank before the colon", b"a : b", "refused"),
        ("a name of bytes", b"\xff\xfe: b", "refused"),
        ("NUL in a value", b"a: \0", "refused"),
        ("a folded value", b"a: b\r\n c", "refused"),
        ("a lone line feed", b"a: b\nc: d", "refused"),
        ("10,000 headers", b"\r\n".join(b"a%d: b" % i for i in range(10_000)), "cut"),
        ("a header of 1 MB", b"a: " + b"b" * 1_000_000, "cut"),
        ("Expect", b"Expect: 200-ok", "refused"),
        ("h2c", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "taken"),
    )
    for name, line, fate in lines:
        yield Attack(name, request(headers=json_type + b"\r\n" + line), fate)


def _targets() -> Iterator[Attack]:
    """Methods and paths that the endpoint does not have."""
    for path in ("/v1/score", "/v1/embed", "/predict", "/webhook"):
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            yield Attack(f"{method} {path}", request(method, path, b"", b""))
    for path in ("/v1/models", "/v1/campaign", "/healthz", "/readyz", "/health", "/versions"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            yield Attack(f"{method} {path}", request(method, path, b"", b""))
    for method in ("CONNECT", "FOO", "get", "G" * 5000, "G\0T", "PRI"):
        yield Attack(f"method {method[:8]!r}", request(method, "/v1/models", b"", b""))
    targets: tuple[bytes, ...] = (
        b"/",
        b"/v2/score",
        b"/v1/score/",
        b"/v1/score/healthz",
        b"/v1/campaign/healthz",
        b"//v1/models",
        b"/v1/../../etc/passwd",
        b"/v1/%2e%2e/%2e%2e/etc/passwd",
        b"/v1/models%00",
        b"/v1/models%ff",
        b"/v1/models;a",
        b"/%",
        b"/-/routes",
        b"/-/",
        b"/" + b"x" * 5000,
        b"/" + b"%41" * 20_000,
        b"/" + b"../" * 10_000,
        b"/labelstudio/%00/health/a",
        "/\u0661".encode(),
        b"/\xff",
        b"/a b",
        b"v1/models",
        b"*",
        b"http://",
        b"http://other.example/v1/nothing",
        b"/static/../../../etc/passwd",
    )
    yield Attack("a slash that is encoded", request("GET", "/v1%2fmodels", b"", b""), "taken")
    for target in targets:
        yield Attack(f"target {target[:30]!r}", request("GET", target, b"", b""))
    for query in (b"", b"%", b"%ff", b"a=%00", b"task=s3cret", b"__proto__[a]=1", b"a&" * 9999):
        data = request(target=b"/v1/score?" + query)
        yield Attack(f"query {query[:16]!r}", data, "taken")


def _messages() -> Iterator[Attack]:
    """Bytes that are no request of HTTP/1.1, or not where it ends."""
    start = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunked = start + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    good = b"%x\r\n%b\r\n0\r\n" % (len(SCORED), SCORED)
    for size in ("-1", "+9", "0x9", "9 9", "9,9", "\u0669", "1e3", "9" * 30, "a", "\0"):
        yield Attack(f"length {size!r}", request(size=size.encode()))
    messages: tuple[tuple[str, bytes, Fate], ...] = (
        ("a length above the limit", request(size=b"999999999"), "refused"),
        ("a length that is too small", request(size=b"9"), "refused"),
        ("a length that is too large", request(size=b"%d" % (len(SCORED) + 9)), "cut"),
        ("two lengths", request(headers=b"Content-Length: 9"), "refused"),
        ("a length and chunks", request(headers=b"Transfer-Encoding: chunked"), "refused"),
        ("a good body in chunks", chunked + good + b"\r\n", "taken"),
        ("trailers", chunked + good + b"Host: a\r\n\r\n", "taken"),
        ("a chunk of no size", chunked + b"\r\n\r\n", "refused"),
        ("a chunk of a negative size", chunked + b"-1\r\n\r\n", "refused"),
        ("a chunk of a huge size", chunked + b"f" * 16 + b"\r\nab", "cut"),
        ("a chunk of a size of 100 digits", chunked + b"f" * 100 + b"\r\nab", "refused"),
        ("a chunk that is longer than it says", chunked + b"1\r\nabc\r\n", "refused"),
        ("a chunk that is cut", chunked + b"ff\r\nabc", "cut"),
        ("an extension of 1 MB", chunked + b"1;" + b"a" * 1_000_000, "cut"),
        ("a trailer of 1 MB", chunked + good + b"a: " + b"b" * 1_000_000, "cut"),
        ("an unknown coding", start + b"Transfer-Encoding: xchunked\r\n\r\n" + SCORED, "cut"),
        ("two codings", start + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + good, "cut"),
        ("a second request in the body", request(body=SCORED + request("GET", "/docs")), "refused"),
        ("HTTP/0.9", b"GET /v1/models\r\n\r\n", "refused"),
        ("HTTP/9.9", b"GET /v1/models HTTP/9.9\r\nHost: localhost\r\n\r\n", "refused"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 50, "refused"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500, "refused"),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", "refused"),
        ("zeros", b"\0" * 10_000, "refused"),
        ("blank lines", b"\r\n" * 100_000, "cut"),
        ("an endless line", b"GET /" + b"a" * 1_000_000, "cut"),
        ("half of a request line", b"GET /v1/mod", "cut"),
        ("half of a header", b"GET /v1/models HTTP/1.1\r\nHost: loc", "cut"),
        ("nothing", b"", "cut"),
        (
            "a web socket",
            b"GET /v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            "refused",
        ),
    )
    for name, data, fate in messages:
        yield Attack(name, data, fate)
