"""Marking the answer to a question in its context: the page, and the API behind it."""

from contextlib import closing

import pytest

from tests.web.conftest import OneTask
from tests.web.test_browser import annotating, serving
from umc_ray.annotation.store import Payload, Question
from umc_ray.methods.text_pair import joined

CONTEXT = "Rome, <b>not</b> 𝒫aris:\r\nis the capital  of Italy."
SUGGESTED = '{"start": 0, "text": "Rome"}'


TASK = {
    "kind": "extractive_qa",
    "encoder": {"kind": "transformers", "path": "encoder"},
    "domains": {"wiki": {"source": "x.csv", "text": ["question", "context"]}},
}


def question(i):
    payload = Payload(
        text=joined([f"What is capital {i}?", CONTEXT]),
        predicted=SUGGESTED,
        confidence=0.75,
        specialists={"reader": (SUGGESTED, 0.8)},
    )
    return Question(
        campaign="tiny",
        round=1,
        task="reading",
        domain="wiki",
        sample_id=i,
        votes=1,
        priority=-float(i),
        why="“Rome” and “Italy” are 4 points apart",
        payload=payload,
        hide_prediction=i == 5,
    )


@pytest.fixture
def reading(tmp_path):
    """A site with six questions about one context."""
    world = OneTask(tmp_path, "reading", TASK, [question(i) for i in range(6)])
    with closing(world.store):
        yield world


def test_the_page_shows_question_context_and_what_is_suggested(reading):
    html = reading.client("annotator").get("/items?n=6").text
    assert html.count("What is capital") >= 6
    assert html.count("data-suggested=") == 5  # the last one is hidden
    assert 'Suggested: <b dir="auto">Rome</b>, 75% sure' in html
    assert "<b>not</b>" not in html
    assert '<td dir="auto">Rome</td>' in html


@pytest.mark.browser
def test_answers_are_marked_by_keys_and_by_mouse(reading, chromium):
    with serving(reading) as address, annotating(chromium, address, "annotator") as user:
        first = user.item
        user.press("ArrowRight", "ArrowRight", "ArrowRight", "Shift+ArrowRight")
        assert user.page.inner_text(".confirm span") == "𝒫aris:\nis".replace("\n", " ")
        assert user.violations() == []
        user.press("Enter")
        user.next_after(first)

        second = user.item  # by mouse: a double click marks a word
        box = user.page.evaluate(
            """() => {
              const node = [...document.querySelectorAll("article.item .text")].at(-1).firstChild;
              const range = document.createRange();
              const at = node.data.indexOf("Italy");
              range.setStart(node, at);
              range.setEnd(node, at + 5);
              return range.getBoundingClientRect().toJSON();
            }"""
        )
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        user.page.mouse.dblclick(x, y)
        user.page.click("article.item .confirm")
        user.next_after(second)

        third = user.item
        user.press("0")
        user.next_after(third)

        fourth = user.item  # nothing is marked: what is suggested
        user.press("Enter")
        user.next_after(fourth)

        fifth = user.item
        user.press("ArrowRight", "ArrowLeft", "Enter")
        user.next_after(fifth)

        hidden = user.item  # nothing is suggested either
        user.press("Enter")
        assert "Nothing is marked" in user.page.inner_text("#status")
        assert user.item == hidden
        user.saved()
    start = CONTEXT.index("𝒫aris")
    assert reading.labels() == {
        int(first): f'{{"start": {start}, "text": "𝒫aris:\\r\\nis"}}',
        int(second): f'{{"start": {CONTEXT.index("Italy")}, "text": "Italy"}}',
        int(third): "(no answer)",
        int(fourth): SUGGESTED,
        int(fifth): '{"start": 0, "text": "Rome,"}',
    }


def test_an_answer_is_moved_to_where_it_stands_and_refused_where_it_does_not(reading):
    client = reading.client("annotator")
    held = client.get("/api/questions?n=2").json()

    def post(number, label):
        body = {"client_key": f"the-key-{len(label)}", "samples": [held[number]["sample"]]}
        return client.post("/api/answers", json={**body, "label": label})

    refused = post(0, '{"start": 0, "text": "Paris"}')
    assert (refused.status_code, "is not in the text" in refused.text) == (422, True)
    assert post(0, "Italy").status_code == 200
    starts = [CONTEXT.index(text) for text in ("Italy", "is")]
    assert post(1, f'{{"start": {starts[1] + 1}, "text": "is"}}').status_code == 200
    assert reading.labels() == {
        0: f'{{"start": {starts[0]}, "text": "Italy"}}',
        1: f'{{"start": {starts[1]}, "text": "is"}}',
    }
