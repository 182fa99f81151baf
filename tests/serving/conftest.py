import base64
import io
import random
import socket
from contextlib import suppress
from dataclasses import dataclass

import httpx
import PIL.Image
import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.tiny import Finished
from umc_ray.serving.app import create_app
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.settings import ServingConfig


@dataclass(frozen=True)
class Server:
    """The endpoint on Ray Serve, in processes of its own, and the campaign that it serves."""

    url: str
    campaign: Finished

    def post(self, path, json):
        return httpx.post(f"{self.url}{path}", json=json, timeout=30)

    def get(self, path):
        return httpx.get(f"{self.url}{path}", timeout=30)


@pytest.fixture(scope="package")
def server(finished, tmp_path_factory):
    from ray import serve

    from umc_ray.serving.deployment import start

    folder = tmp_path_factory.mktemp("served") / "copy"
    tiny.copy_campaign(finished.path.parent, folder)
    campaign = Finished(folder / finished.path.name)
    settings = ServingConfig(
        campaign=campaign.path,
        poll_s=0.05,
        max_samples=8,
        max_body_bytes=200_000,
        max_text_chars=1000,
        body_timeout_s=2,
        batch_size=4,
    )
    port = free_port()
    start([settings], "127.0.0.1", port)
    yield Server(f"http://127.0.0.1:{port}", campaign)
    serve.shutdown()


def free_port():
    """An unused port outside the ranges that the system and Ray hand out to others meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


SCORE, ADMIN = "score-" + "x" * 16, "admin-" + "x" * 16


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """An endpoint that needs tokens, in this process; no round of its campaign is done."""
    folder = tmp_path_factory.mktemp("guarded")
    tokens = folder / "tokens"
    tokens.write_text(f"score {SCORE}\nadmin {ADMIN}\n")
    tokens.chmod(0o600)
    path = tiny.write_campaign(folder, tiny.campaign(folder))
    with local_client(ServingConfig(campaign=path, tokens=tokens)) as client:
        yield client


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """An endpoint of a task of images, in this process."""
    folder = tmp_path_factory.mktemp("pictures")
    task = {
        "kind": "classification",
        "labels": ["cat", "dog"],
        "encoder": {"kind": "pixels", "image_px": 8},
        "domains": {"web": {"source": "images"}},
    }
    values = {"name": "pictures", "storage": "runs", "tasks": {"pets": task}}
    budget = {"labels": 10, "per_round": 5}
    path = tiny.write_campaign(folder, {**values, "budget": budget})
    with local_client(ServingConfig(campaign=path, max_image_pixels=10_000)) as client:
        yield client


def picture(width, height):
    file = io.BytesIO()
    image = PIL.Image.new("1", (width, height))
    image.putpixel((0, 0), 1)  # an image of one color shows nothing, and is refused
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def local_client(settings):
    return TestClient(create_app(Endpoint(settings)), client=("127.0.0.1", 1))
