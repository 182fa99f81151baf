"""Synthetic samples on the page: a person accepts, fixes and rejects them, and training sees it."""

import csv
import json
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest

from tests.web.conftest import World
from tests.web.test_browser import annotating, serving
from tests.web.worlds import PICTURES, TEXT, TOPICS, answer, ids, scans
from umc_ray.annotation.store import Payload, Question
from umc_ray.campaign.state import VALIDATION
from umc_ray.campaign.synthetic import standings_now, standings_of
from umc_ray.diversity.generators.generator import Generated
from umc_ray.diversity.synthetic import Checked, Origin, read_origins, write_part
from umc_ray.diversity.validation import choose_validation
from umc_ray.records import Made, embeddings_column
from umc_ray.web.api import question_ref

TEXTS = ("I am <b>delighted</b>.", "Dreadful, really.", "asdf qwer")
MADE = {
    TEXT: (TEXTS, ("good", "good", "bad")),
    PICTURES: ((next(scans()),), ("zero",)),
    TOPICS: (("Where is my parcel? You charged me twice.",), ("billing | delivery",)),
}


def make(run, domain_key):
    """Store synthetic samples of a domain, encoded, and have people asked about them first."""
    payloads, labels = MADE[domain_key]
    samples = [
        Checked(f"writer/{i}", Generated(payload, label, tuple(ids(domain_key, 1)[:2]), "", 0))
        for i, (payload, label) in enumerate(zip(payloads, labels, strict=True))
    ]
    origin = Origin("writer", "v1", "gap-1")
    part = write_part(run.storage, domain_key, "a", origin, samples, of_task=[])
    embeddings = embeddings_column(np.ones((part.rows, 4), np.float16))
    table = run.selection_features[domain_key.task]
    run.storage.write_table(part.key(table), pa.table({"embedding": embeddings}))
    return [
        Question(
            *("tiny", 2, domain_key.task, domain_key.domain, row["sample_id"]),
            priority=(50.0 if domain_key == PICTURES else 100.0) - row["row"],
            why="synthetic, made by writer",
            payload=Payload(
                predicted=row["label"], made=Made("writer", row["label"], tuple(row["exemplars"]))
            ),
        )
        for row in read_origins(run.storage, [part]).to_pylist()
    ]


def world_with_synthetic(folder, *domain_keys):
    """A world whose first questions are about synthetic samples."""
    world = World(folder, domain_keys=domain_keys)
    run = world.run
    run.store.submit([each for key in domain_keys for each in make(run, key)])
    standings = standings_now(run, 1)
    chosen = choose_validation(standings, frozenset(), np.full(len(standings), 0.5), 9, 0)
    run.storage.write_table(f"rounds/0002/{VALIDATION}", chosen)
    return world


def result(run):
    """What stands after round 2, as training will see it."""
    rows = standings_now(run, 2).sort_by([("domain", "ascending"), ("row", "ascending")])
    return list(zip(rows["standing"].to_pylist(), rows["label"].to_pylist(), strict=True))


@pytest.mark.browser
def test_a_person_accepts_fixes_and_rejects_synthetic_samples(tmp_path, chromium):
    world = world_with_synthetic(tmp_path, TEXT, PICTURES)
    with closing(world.store), serving(world) as address:
        with annotating(chromium, address, "annotator") as user:
            said = user.page.inner_text("article.item .made")
            assert "Synthetic" in said
            assert "Made by writer as an example of good" in said
            assert "Made from these samples" in user.page.inner_text(".similar h2")
            assert len(user.page.query_selector_all(".similar li")) == 2
            assert "Reject" in user.page.inner_text("[data-do=skip]")
            assert user.violations() == []
            user.shoot("synthetic_text")
            user.press("q")
            user.wait("dialog#rating[open]")
            assert user.violations() == []
            user.shoot("synthetic_rating")
            user.press("4")
            user.label("Enter")
            user.label("1")
            user.press("s")
            user.wait("dialog#skip[open]")
            assert "Why reject?" in user.page.inner_text("dialog#skip")
            user.shoot("synthetic_reject")
            user.label("2")
            user.shoot("synthetic_image")
            user.label("Enter")
            assert user.page.query_selector("article.item .made") is None
            assert "Skip" in user.page.inner_text("[data-do=skip]")
            assert not user.page.is_visible("[data-do=rating]")
            user.saved()
        rows = standings_now(world.run, 2).to_pylist()
        assert {row["standing"]: row["quality"] for row in rows if row["quality"]} == {
            "accepted": 4.0
        }
        assert result(world.run) == [
            ("accepted", "good"),
            ("fixed", "bad"),
            ("rejected", None),
            ("accepted", "zero"),
        ]
        assert standings_of(world.run, 2).num_rows == 0  # no round has learned it yet


def test_only_synthetic_samples_are_rated_and_from_1_to_5(tmp_path):
    world = world_with_synthetic(tmp_path, TEXT)
    (first, *_, real) = world.store.questions("tiny")
    with closing(world.store):
        client = world.client("annotator")

        def rate(question, score):
            sample = question_ref(question).model_dump()
            body = {"client_key": f"rated-{score}-x", "sample": sample, "kind": "rating"}
            return client.post("/api/remarks", json={**body, "text": score})

        assert rate(first, "6").status_code == 422
        assert rate(real, "5").status_code == 422
        assert rate(first, "3").status_code == 204
        assert standings_now(world.run, 2)["quality"].null_count == len(TEXTS)  # not answered yet
        world.store.record([first.answered("annotator", "good")], ["key-of-answer"])
        assert standings_now(world.run, 2)["quality"].to_pylist().count(3.0) == 1
        lines = world.client("admin").get("/api/labels?format=jsonl").text.splitlines()
        notes = [json.loads(line)["notes"] for line in lines]
        assert [note for note in notes if note] == [["quality 3 of 5"]]


def test_exported_labels_name_what_made_a_synthetic_sample(tmp_path):
    world = world_with_synthetic(tmp_path, TEXT)
    with closing(world.store):
        admin = world.client("admin")
        lines = admin.get("/api/labels?format=jsonl").text.splitlines()
        made = [each for each in map(json.loads, lines) if "synthetic" in each]
        assert [(each["text"], each["synthetic"]) for each in made] == [
            (text, "writer") for text in TEXTS
        ]
        first = world.store.question(("tiny", "mood", int(made[0]["sample_id"])))
        world.store.record(
            [first.answered("ann", "good"), answer(ids(TEXT, 2)[0], "ann", "bad")], "ab"
        )
        rows = csv.DictReader(admin.get("/api/labels?format=csv").text.splitlines())
        assert {row["label"]: row["synthetic"] for row in rows} == {"good": "writer", "bad": ""}


@pytest.mark.browser
def test_a_set_of_labels_that_was_made_is_accepted_with_one_key(tmp_path, chromium):
    world = world_with_synthetic(tmp_path, TOPICS)
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "annotator", **phone) as user,
    ):
        assert "Confirm: billing, delivery" in user.page.inner_text(".confirm")
        assert user.violations() == []
        assert user.page.evaluate("document.documentElement.scrollWidth") == 390
        user.shoot("synthetic_set_phone")
        user.label("Enter")
        user.saved()
    assert result(world.run) == [("accepted", "billing | delivery")]
