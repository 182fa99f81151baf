"""A campaign whose rounds people answer on the page, while its server is killed."""

import re
import time
from contextlib import closing, contextmanager, suppress

import httpx
import pytest
from starlette.testclient import TestClient

from tests.serving.conftest import free_port
from tests.tiny import campaign, write_campaign
from umc_ray.config import load_campaign
from umc_ray.run import Run
from umc_ray.web.app import create_app
from umc_ray.web.server import set_account
from umc_ray.web.site import Site

pytestmark = pytest.mark.ray

PASSWORD = "correct horse"
VALUES = {"annotation": {"backend": "web"}, "budget": {"labels": 40, "per_round": 20}}


def label_all(client, n=50):
    """Answer what can be leased, at most n; returns the acknowledged ids."""
    acknowledged = []
    for held in client.get(f"/api/questions?n={min(n, 50)}").json():
        label = "good" if re.search("good|great|fine", held["text"]) else "bad"
        key = f"key-{held['sample']['sample_id']}".replace("-", "_")
        body = {"client_key": key, "samples": [held["sample"]], "label": label, "seconds": 2.0}
        if client.post("/api/answers", json=body).status_code == 200:
            acknowledged.append(int(held["sample"]["sample_id"]))
    return acknowledged


@contextmanager
def at(process, port, key):
    """Wait until a server answers; yields a client of it."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=key, timeout=60) as client:
        while True:
            assert process.poll() is None, process.stdout.read()
            with suppress(httpx.TransportError):
                client.get("/login")
                break
            time.sleep(0.1)
        yield client


def test_rounds_wait_for_people_and_a_killed_server_loses_nothing(
    tmp_path, umc, umc_here, monkeypatch
):
    path = write_campaign(tmp_path, campaign(tmp_path, **VALUES))
    code, told = umc_here("run", path)
    assert (code, "round 1: 0 of 20 answered; people answer on the page" in told) == (3, True)
    code, told = umc_here("annotate", path)
    assert (code, "umc account CAMPAIGN.yaml NAME --role admin" in told) == (1, True)

    monkeypatch.setenv("UMC_PASSWORD", PASSWORD)
    assert umc_here("account", path, "ada", "--role", "admin")[0] == 0
    run = Run(load_campaign(path))
    with closing(run.store):
        site = Site(run)
        key = {"authorization": f"Bearer {site.accounts.open('ada', 'token')}"}
        port = free_port()
        server = umc("annotate", path, "--port", port)
        with at(server, port, key) as client:
            acknowledged = label_all(client, 7)
            server.kill()
        assert len(acknowledged) == 7
        assert [each.sample_id for each in run.store.answers("tiny", 1)] == acknowledged
        assert umc_here("run", path)[0] == 3

        page = TestClient(create_app(site), headers=key)
        assert len(label_all(page)) == 13
        code, told = umc_here("run", path)
        assert (code, "round 2: 0 of 20 answered" in told) == (3, True)
        html = page.get("/items?n=20").text
        assert "What each specialist says" in html
        assert "rank in domain" in html
        assert len(label_all(page)) == 20
        assert umc_here("run", path)[0] == 0
        assert umc_here("release", path)[0] == 0
        assert {each.seconds for each in run.store.answers("tiny")} == {2.0}


def test_an_account_of_an_unknown_role_is_refused(tmp_path):
    path = write_campaign(tmp_path, campaign(tmp_path, **VALUES))
    run = Run(load_campaign(path))
    with closing(run.store), pytest.raises(ValueError, match="there is no role boss; there are"):
        set_account(run, "ada", "boss", PASSWORD)
