"""Malformed and malicious requests are refused with a reason, without repeating their content.

`test_attacks.py` has many more of them.
"""

import asyncio
import base64
import json
import os
import socket
from contextlib import ExitStack

import httpx
import pytest

from benchmarks.hostile_requests import SECRET
from tests.serving.conftest import ADMIN, picture

pytestmark = pytest.mark.ray

GOOD = {"text": "good word1"}


def samples(*values, **more):
    return json.dumps({"samples": list(values), **more})


BODIES = {
    "many empty samples": '{"samples": [' + "{}," * 60_000 + "{}]}",
    "many texts of one sample": '{"samples": [{"text": [' + '"a",' * 40_000 + '"a"]}]}',
    "many numbers as a text": '{"samples": [{"text": [' + "1," * 90_000 + "1]}]}",
    "many keys of a sample": samples({f"k{i}": 1 for i in range(10_000)}),
    "many groups": samples({"group": {f"k{i}": 1 for i in range(10_000)}, **GOOD}),
    "a repeated key": '{"samples": [{"text": "good", "id": "a", "text": "bad"}]}',
    "a repeated key that nobody knows": f'{{"samples": [{{"{SECRET}": 1, "{SECRET}": 2}}]}}',
    "a group of a secret": samples({"text": "good", "group": {SECRET: 5}}),
    "a group that is too long": samples({"text": "good", "group": {"sex": "x" * 201}}),
    "a group that is a list": samples({"text": "good", "group": [SECRET]}),
    "an id that is no Unicode": '{"samples": [{"text": "good", "id": "\\udfff"}]}',
    "no samples": "{}",
    "no sample": samples(),
    "samples that are an object": '{"samples": {"0": {"text": "good"}}}',
    "too many samples": samples(*[GOOD] * 9),
    "very many samples": samples(*[{"text": ""}] * 10_000),
    "an unknown key that is no Unicode": '{"samples": [{"text": "good"}], "\\ud800": 1}',
    "unknown task": samples(GOOD, task=SECRET),
    "a task that is a path": samples(GOOD, task="../../etc/passwd"),
    "a flag that is a string": samples(GOOD, specialists="yes"),
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
    "text that is an object": samples({"text": {"$ne": SECRET}}),
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


def test_a_key_that_is_given_twice_is_named(server):
    body = '{"samples": [{"text": "good", "id": "a", "text": "bad"}]}'
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{server.url}/v1/score", content=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]) == (422, "the key 'text' is given twice")


def test_a_chunked_body_that_is_too_large_is_refused(server):
    chunks = (b"x" * 65_536 for _ in range(50))
    assert refused(httpx.post(f"{server.url}/v1/score", content=chunks, timeout=30))


def test_requests_that_stall_hold_nobody_up_and_time_out(server):
    host, port = server.url.removeprefix("http://").split(":")
    head = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    with ExitStack() as stack:

        def begun(data):
            connection = socket.create_connection((host, int(port)), timeout=30)
            stack.enter_context(connection).sendall(data.encode())
            return connection

        in_body = [begun(f"{head}\r\n{{") for _ in range(40)]
        for _ in range(40):
            begun(head)
        assert server.post("/v1/score", json={"samples": [GOOD]}).status_code == 200
        assert all(b" 408 " in each.recv(1000) for each in in_body)
        assert server.post("/v1/score", json={"samples": [GOOD]}).status_code == 200


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


def test_images_of_a_request_have_so_many_pixels_together(pictures):
    """A file of a kilobyte can have millions of them."""
    full = {"image": picture(100, 100)}
    most = pictures.post("/v1/embed", json={"samples": [full] * 8})
    assert (most.status_code, len(most.json()["results"])) == (200, 8)
    broken = [{"image": picture(101, 100)}, {"image": "?"}, {"text": "x"}]  # none is decoded
    assert pictures.post("/v1/embed", json={"samples": [full] * 8 + broken}).status_code == 200
    more = pictures.post("/v1/embed", json={"samples": [full] * 8 + [{"image": picture(1, 2)}]})
    assert more.status_code == 413
    said = "the images have more than 80000 pixels: send fewer at a time"
    assert more.json()["error"] == said
