"""Malformed and malicious requests are refused with a reason, without repeating their content."""

import asyncio
import base64
import json
import os
import socket

import httpx
import pytest

from tests.serving.conftest import ADMIN, picture

pytestmark = pytest.mark.ray

SECRET = "s3cret"
"""Appears in many requests and in no response."""

GOOD = {"text": "good word1"}


def samples(*values, **more):
    return json.dumps({"samples": list(values), **more})


BODIES = {
    "empty": "",
    "not JSON": f"{{{SECRET}",
    "not UTF-8": b"\xff\xfe\x00",
    "half": samples(GOOD)[:-3],
    "two documents": samples(GOOD) * 2,
    "null": "null",
    "a number": "7",
    "a string": f'"{SECRET}"',
    "a list": "[]",
    "many zeros": '{"samples": [' + "0," * 90_000 + "0]}",
    "many empty samples": '{"samples": [' + "{}," * 60_000 + "{}]}",
    "many lists": '{"samples": [' + "[]," * 60_000 + "[]]}",
    "many texts of one sample": '{"samples": [{"text": [' + '"a",' * 40_000 + '"a"]}]}',
    "many numbers as a text": '{"samples": [{"text": [' + "1," * 90_000 + "1]}]}",
    "many keys": "{" + ",".join(f'"k{i}": 1' for i in range(10_000)) + "}",
    "many keys of a sample": samples({f"k{i}": 1 for i in range(10_000)}),
    "many groups": samples({"group": {f"k{i}": 1 for i in range(10_000)}, **GOOD}),
    "a number of 300 digits": '{"samples": [{"text": ' + "9" * 300 + "}]}",
    "neighbors of 300 digits": '{"neighbors": ' + "9" * 300 + ', "samples": [{"text": "good"}]}',
    "Arabic digits": '{"neighbors": \u0661, "samples": [{"text": "good"}]}',
    "a group of a secret": samples({"text": "good", "group": {SECRET: 5}}),
    "a group that is too long": samples({"text": "good", "group": {"sex": "x" * 201}}),
    "a group that is a list": samples({"text": "good", "group": [SECRET]}),
    "a group that is no Unicode": '{"samples": [{"text": "a", "group": {"\\ud800": "x"}}]}',
    "an id that is no Unicode": '{"samples": [{"text": "good", "id": "\\udfff"}]}',
    "NaN": "NaN",
    "infinite number": '{"samples": [{"text": 1e999}]}',
    "huge whole number": '{"samples": [{"text": ' + "9" * 5000 + "}]}",
    "deep list": "[" * 90_000,
    "deep whole list": "[" * 90_000 + "]" * 90_000,
    "deep object": '{"samples":' * 10_000 + "1" + "}" * 10_000,
    "no samples": "{}",
    "null samples": '{"samples": null}',
    "no sample": samples(),
    "samples that are a string": json.dumps({"samples": SECRET}),
    "samples that are an object": '{"samples": {"0": {"text": "good"}}}',
    "too many samples": samples(*[GOOD] * 9),
    "very many samples": samples(*[{"text": ""}] * 10_000),
    "an unknown key": samples(GOOD, s3cret=1),
    "an unknown key that is no Unicode": '{"samples": [{"text": "good"}], "\\ud800": 1}',
    "prototype": samples(GOOD, __proto__={"admin": True}),
    "unknown task": samples(GOOD, task=SECRET),
    "a task that is a path": samples(GOOD, task="../../etc/passwd"),
    "a task that is a number": samples(GOOD, task=1),
    "a task that is a list": samples(GOOD, task=["mood"]),
    "a task that is no Unicode": '{"task": "\\ud800", "samples": [{"text": "good"}]}',
    "a flag that is a string": samples(GOOD, specialists="yes"),
    "a flag that is a number": samples(GOOD, specialists=1),
    "a sample that is a string": samples(SECRET),
    "a sample that is null": samples(None),
    "a sample of nothing": samples({}),
    "a sample with an unknown key": samples({"text": "good", "s3cret": 1}),
    "a sample that names a file": samples({"path": "/etc/passwd"}),
    "a sample that names an address": samples({"url": "http://169.254.169.254/latest"}),
    "an address of an image": samples({"image_url": "http://169.254.169.254/s3cret"}),
    "a reference to a file": samples({"reference": "/etc/s3cret"}),
    "a reference out of a folder": samples({"reference": "runs/../../s3cret"}),
    "a reference and a text": samples({"reference": "/etc/s3cret", "text": "good"}),
    "a reference that is too long": samples({"reference": "x" * 2001}),
    "too many neighbors": samples(GOOD, neighbors=21),
    "less than no neighbors": samples(GOOD, neighbors=-1),
    "neighbors that are true": samples(GOOD, neighbors=True),
    "text that is a number": samples({"text": 7}),
    "text that is NaN": '{"samples": [{"text": NaN}]}',
    "text that is true": samples({"text": True}),
    "text that is a list": samples({"text": [SECRET]}),
    "text that is an object": samples({"text": {"$ne": SECRET}}),
    "text that is null": samples({"text": None}),
    "empty text": samples({"text": ""}),
    "blank text": samples({"text": " \n\t\u2003"}),
    "text with NUL": samples({"text": f"{SECRET}\0"}),
    "text that is no Unicode": '{"samples": [{"text": "good \\ud800"}]}',
    "text that is too long": samples({"text": "x" * 1001}),
    "text and image": samples({"text": "good", "image": "aGk="}),
    "an image for a task of texts": samples({"image": "aGk="}),
    "an id that is a number": samples({"id": 1, **GOOD}),
    "an id that is too long": samples({"id": "x" * 201, **GOOD}),
    "a body that is too large": samples({"text": "x" * 300_000}),
}


def refused(answer):
    """Return True for a short refusal that repeats nothing of the request."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]
    assert SECRET not in answer.text
    assert len(answer.text) < 2000
    return True


@pytest.mark.parametrize("path", ["/v1/score", "/v1/embed"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_malformed_body_is_refused(server, path, body):
    headers = {"content-type": "application/json"}
    assert refused(httpx.post(f"{server.url}{path}", content=body, headers=headers, timeout=30))


@pytest.mark.parametrize(
    ("index", "value"),
    [(0, {"text": 7}), (2, {"text": 7}), (1, "good"), (1, {"text": "good", "id": 5})],
)
def test_the_error_for_a_wrong_type_has_the_index_of_the_sample(server, index, value):
    body = {"samples": [GOOD] * index + [value]}
    assert f"samples.{index}" in server.post("/v1/score", json=body).json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_a_body_that_is_not_plain_json_is_refused(server, headers):
    content = base64.b64encode(b"\x1f\x8b\x08") if "content-encoding" in headers else "text=good"
    assert refused(httpx.post(f"{server.url}/v1/score", content=content, headers=headers))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/score"),
        ("PUT", "/v1/score"),
        ("DELETE", "/v1/models"),
        ("TRACE", "/v1/score"),
        ("POST", "/healthz"),
        ("GET", "/"),
        ("GET", "/v2/score"),
        ("GET", "/v1/score/healthz"),
        ("GET", "/v1/../../etc/passwd"),
        ("GET", "/v1/%2e%2e/%2e%2e/etc/passwd"),
        ("GET", "/v1/models%00"),
        ("GET", "/" + "x" * 5000),
    ],
)
def test_an_unknown_route_is_refused(server, method, path):
    assert refused(httpx.request(method, f"{server.url}{path}", timeout=30))


def test_a_chunked_body_that_is_too_large_is_refused(server):
    chunks = (b"x" * 65_536 for _ in range(50))
    assert refused(httpx.post(f"{server.url}/v1/score", content=chunks, timeout=30))


def test_a_request_that_stalls_times_out(server):
    host, port = server.url.removeprefix("http://").split(":")
    head = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        assert b" 408 " in connection.recv(1000)


@pytest.mark.parametrize("path", ["/v1/score", "/v1/embed", "/v1/models", "/v1/campaign", "/docs"])
@pytest.mark.parametrize("token", [None, "", "x", ADMIN + "x", "\xe9"])
def test_without_a_valid_token_every_path_is_refused(guarded, path, token):
    headers = {} if token is None else {"authorization": f"Bearer {token}".encode("latin-1")}
    answer = guarded.request("POST" if "e" in path[4:6] else "GET", path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_an_unauthorized_request_is_refused_before_its_body_is_read(guarded):
    answers = []

    async def receive():
        raise AssertionError("the body was read")

    async def send(message):
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/score",
        "headers": [],
        "query_string": b"",
        "client": ("10.0.0.1", 1),
    }
    asyncio.run(guarded.app(scope, receive, send))
    assert answers[0]["status"] == 401


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("%%%", "not base64"),
        ("aGk", "not base64"),
        ("é", "not base64"),
        ("", "missing image"),
        (base64.b64encode(b"not an image").decode(), "undecodable image"),
        (base64.b64encode(b"GIF89a" + os.urandom(200)).decode(), "image"),
        ("../../etc/passwd", "not base64"),
        ("/etc/passwd", "not base64"),
    ],
)
def test_an_invalid_image_is_an_error_of_its_sample(pictures, image, reason):
    answer = pictures.post("/v1/embed", json={"samples": [{"image": image}]})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["index"], reason in error["error"]) == (0, True), error


@pytest.mark.parametrize("side", [101, 20_000])
def test_a_decompression_bomb_is_refused_by_its_header(pictures, side):
    bomb = picture(side, side)
    assert len(bomb) < 100_000
    answer = pictures.post("/v1/embed", json={"samples": [{"image": bomb}]})
    assert "image too large" in answer.json()["errors"][0]["error"]
