"""A replica is killed while it has requests: none of them fails, and no client loses a sample."""

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from umc_ray.client import Client
from umc_ray.serving.messages import Sample

pytestmark = pytest.mark.ray

BODY = json.dumps({"samples": [{"text": "good word1"}]}).encode()
HEAD = (
    "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
)
SAMPLES = [Sample(id=str(i), text="good word1") for i in range(200)]


def replica():
    """The actor of the only replica, and its process."""
    import ray

    (name,) = (each for each in ray.util.list_named_actors(True) if "REPLICA" in each["name"])
    (process,) = (
        each
        for each in psutil.Process().children(recursive=True)
        if each.name().startswith("ray::ServeReplica")
    )
    return ray.get_actor(name["name"], namespace=name["namespace"]), process


def scored(url):
    with Client(url, batch=2) as client:
        return [each.label for each in client.score(SAMPLES)]


def test_its_requests_are_sent_again_and_clients_lose_nothing(server):
    import ray

    host, port = server.url.removeprefix("http://").split(":")
    actor, process = replica()
    with (
        ThreadPoolExecutor(2) as pool,
        socket.create_connection((host, int(port)), timeout=120) as connection,
    ):
        connection.sendall(HEAD.encode() + BODY[:9])
        while not ray.get(actor.get_num_ongoing_requests.remote()):
            pass  # it waits for the rest of the body
        clients = [pool.submit(scored, server.url) for _ in range(2)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        connection.sendall(BODY[9:])
        answer = b"".join(iter(lambda: connection.recv(10_000), b""))
        assert [each.result() for each in clients] == [["good"] * len(SAMPLES)] * 2
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"label":"good"' in answer
    assert replica()[1] != process
