"""Pairs of texts whose answers are numbers: on the page, in the API and in files."""

import json
from contextlib import closing

import pytest

from tests.web.conftest import World
from tests.web.test_browser import annotating, answers_of, serving
from tests.web.worlds import SIMILAR, answer, ids

KEY = "0123456789abcdef"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, domain_keys=(SIMILAR,))
    with closing(world.store):
        yield world


def body(label):
    here = {"task": "similar", "domain": "headlines", "round": 2}
    sample = {**here, "sample_id": str(ids(SIMILAR, 2)[0])}
    return {"client_key": KEY, "samples": [sample], "label": label}


def test_a_question_has_both_texts_and_says_which_numbers_are_answers(world):
    (first,) = world.client("annotator").get("/api/questions?n=1").json()
    assert len(first["text"]) == 2
    assert first["text"][1].startswith("What was <b>said</b> of it")
    assert (first["labels"], first["hint"]) == ([], "a number from 0 to 5")


@pytest.mark.parametrize(("label", "status"), [("3.50", 200), ("5.01", 422), ("much", 422)])
def test_an_answer_is_a_number_of_the_range(world, label, status):
    world.give("annotator", 1)
    found = world.client("annotator").post("/api/answers", json=body(label))
    assert found.status_code == status
    kept = [each.label for each in world.store.answers("tiny", 2)]
    assert kept == (["3.5"] if status == 200 else [])


def test_the_page_shows_both_texts_with_their_names_and_suggests_a_number(world):
    html = world.client("annotator").get("/items?n=1").text
    assert html.index(">first</h2>") < html.index(">second</h2>") < html.rindex("&lt;b&gt;said")
    assert 'data-suggested="0"' in html
    assert "\0" not in html


def test_a_hidden_suggestion_never_reaches_the_page(tmp_path):
    world = World(tmp_path, domain_keys=(SIMILAR,), suggestion="hidden")
    with closing(world.store):
        assert "uggested" not in world.client("annotator").get("/items?n=4").text


def test_answers_travel_through_files(world):
    sample_id = ids(SIMILAR, 2)[0]
    world.store.record([answer(sample_id, "ann", "3.5", SIMILAR)], ["a"])
    client = world.client("admin")
    lines = client.get("/api/labels?format=jsonl").text.splitlines()
    found = {row["sample_id"]: row for row in map(json.loads, lines)}[str(sample_id)]
    assert (found["label"], len(found["text"])) == ("3.5", 2)
    tasks = client.get("/api/labels?format=label_studio").json()
    (task,) = [each for each in tasks if each["annotations"]]
    assert set(task["data"]) == {"text", "text_2"}
    (result,) = task["annotations"][0]["result"]
    assert (result["type"], result["value"]) == ("number", {"number": 3.5})


@pytest.mark.browser
def test_numbers_are_given_by_keys_by_slider_and_by_suggestion(world, chromium):
    with serving(world) as address, annotating(chromium, address, "annotator") as user:
        assert user.violations() == []
        user.shoot("number")
        given = {}

        def confirm(text, *keys):
            given[item := user.item] = text
            user.press(*keys)
            user.next_after(item)

        confirm(user.page.get_attribute(".number-form", "data-suggested"), "Enter")
        confirm("4.25", "4", ".", "2", "5", "Enter")
        user.page.focus(".slider")
        confirm("2.55", "ArrowRight", "Enter")
        item = user.item
        user.press("7", "Enter")
        assert user.page.text_content("#status") == "7 is not a number from 0 to 5."
        assert user.item == item
        confirm("1", "Control+A", "1", "Enter")
        user.saved()
        found = {str(each.sample_id): each.label for each in answers_of(world, "annotator")}
        assert found == given
