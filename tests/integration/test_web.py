"""A campaign whose rounds people answer on the page, while its server is killed."""

import re
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress

import httpx
import pytest
from starlette.testclient import TestClient

from tests.serving.conftest import free_port
from tests.tiny import DOMAINS, campaign, results, write_campaign, write_jsonl
from umc_ray.annotation.leases import LeaseManager
from umc_ray.annotation.store import Answer
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.campaign.synthetic import standings_of
from umc_ray.config.loading import load_campaign
from umc_ray.errors import AwaitingAnnotations
from umc_ray.web.accounts import set_account
from umc_ray.web.app import create_app
from umc_ray.web.site import Site

pytestmark = pytest.mark.ray

PASSWORD = "correct horse"
VALUES = {"annotation": {"backend": "web"}, "budget": {"labels": 40, "per_round": 20}}
NONSENSE = "word1 word1 word1"
MADE = [("good", "great fine"), ("good", NONSENSE), ("bad", "fine good"), ("bad", "sad poor")]
"""Synthetic samples: label and text. A person rejects the second and fixes the third."""
REFINE = {
    "share": 0.2,
    "generators": {"writer": {"kind": "files", "path": "made.jsonl", "domain": "mood/posts"}},
}


def label_all(client, n=50):
    """Answer what can be leased, at most n; returns the acknowledged ids."""
    acknowledged = []
    for held in client.get(f"/api/questions?n={min(n, 50)}").json():
        label = "good" if re.search("good|great|fine", held["text"]) else "bad"
        label = None if NONSENSE in held["text"] else label
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
    path = write_campaign(tmp_path, campaign(tmp_path, **VALUES, refine=REFINE))
    write_jsonl(tmp_path / "made.jsonl", [{"text": text, "label": label} for label, text in MADE])
    code, manifest = umc_here("run", path)
    assert (code, "round 1: 0 of 20 answered; people answer on the page" in manifest) == (3, True)
    code, manifest = umc_here("annotate", path)
    assert (code, "umc account CAMPAIGN.yaml NAME --role admin" in manifest) == (1, True)

    monkeypatch.setenv("UMC_PASSWORD", PASSWORD)
    assert umc_here("account", path, "ada", "--role", "admin")[0] == 0
    run = Run(load_campaign(path))
    with closing(run.store):
        site = Site(run)
        key = {"authorization": f"Bearer {site.accounts.create_key('ada', 'token')}"}
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
        code, manifest = umc_here("run", path)
        assert (code, "round 2: 0 of 20 answered" in manifest) == (3, True)
        assert_only_what_people_accepted_or_fixed_trains(run)
        html = page.get("/items?n=20").text
        assert "Predictions by specialist" in html
        assert "rank in domain" in html
        assert len(label_all(page)) == 20
        assert umc_here("run", path)[0] == 0
        assert umc_here("release", path)[0] == 0
        assert {each.seconds for each in run.store.answers("tiny")} == {2.0}


def assert_only_what_people_accepted_or_fixed_trains(run):
    """After round 1, in which people validated all synthetic samples among 20 questions."""
    table = standings_of(run, 1).sort_by("row")
    assert table["standing"].to_pylist() == ["accepted", "rejected", "fixed", "accepted"]
    assert table["label"].to_pylist() == ["good", None, "good", "bad"]
    training, metrics = run.training(2), run.metrics(2)
    assert training.rows == 16 + 3
    assert {each.rows for each in training.specialists["mood"].values()} == {16}
    assert (metrics.labels, metrics.validated, metrics.cost) == (16, 4, 20.0)
    asked = [each for each in run.store.questions("tiny") if each.payload.made]
    assert [each.round for each in asked] == [1] * 4
    assert sum(len(ids) for ids in run.queried(1).values()) == 16
    pools = {part.name for part in run.pools}
    assert not pools & {part.name for part in run.synthetic}


def answer(run, count):
    """Answer the next questions in their order, as somebody at the page does; returns rounds."""
    leases = LeaseManager(run.store, "tiny", "ada")
    held = leases.claim(count)
    for each in held:
        seconds = 8.0 if each.domain == "reviews" else 2.0
        said = Answer(
            *each.key[:2], each.domain, each.sample_id, "ada", "good", each.round, seconds
        )
        run.store.record([said], [f"ada/{each.sample_id}"])
    return [each.round for each in held]


@pytest.mark.long
def test_with_overlap_the_next_batch_is_there_before_the_last_is_answered(ray_cluster, tmp_path):
    annotation = {"backend": "web", "overlap": True}
    budget = {"labels": 50, "per_round": 20}
    values = {"annotation": annotation, "budget": budget, "allocation": {"costs": "measured"}}
    path = write_campaign(tmp_path, campaign(tmp_path, **values))

    def go_on():
        """Run as a new process would; returns the rounds that were asked and what is stored."""
        with closing((run := Run(load_campaign(path))).store), suppress(AwaitingAnnotations):
            run_campaign(run)
        asked = [each.round for each in run.store.questions("tiny")]
        return Counter(asked), results(run.storage)

    run = Run(load_campaign(path))
    with closing(run.store):
        asked, first = go_on()
        assert asked == {1: 20, 2: 20}
        assert go_on() == (asked, first)
        assert answer(run, 27) == [1] * 20 + [2] * 7
        asked, second = go_on()
        assert asked == {1: 20, 2: 20, 3: 10}
        assert {key: second[key] for key in first} == first
        models = {
            key: [row["predicted"] is not None for row in rows]
            for key, rows in second.items()
            if "batch" in key
        }
        assert [all(known) for known in models.values()] == [False, False, True]
        assert run.finished_rounds == 1
        plan = run.storage.read_json("rounds/0003/allocation.json")["domains"]
        posts, reviews = (plan[name]["context"]["cost"] for name in DOMAINS)
        assert 0 < posts < 1 < reviews  # by the time that the answers of round 1 took
        assert answer(run, 50) == [2] * 13 + [3] * 10
        asked, last = go_on()
        assert (asked, run.finished_rounds) == ({1: 20, 2: 20, 3: 10}, 3)
        assert {key: last[key] for key in second} == second
        labels = [row["sample_id"] for key, rows in last.items() if "labels" in key for row in rows]
        assert len(labels) == len(set(labels)) == len(run.store.answers("tiny")) == 50


def test_an_account_of_an_unknown_role_is_refused(tmp_path):
    path = write_campaign(tmp_path, campaign(tmp_path, **VALUES))
    run = Run(load_campaign(path))
    with closing(run.store), pytest.raises(ValueError, match="there is no role boss; use one of"):
        set_account(run.store, "ada", "boss", PASSWORD)
