"""Writing an answer, or editing the one that is suggested: the page, and the API behind it."""

from contextlib import closing

import pytest

from tests.web.conftest import OneTask
from tests.web.test_browser import annotating, serving
from umc_ray.annotation.store import Payload, Question

SUGGESTED = 'Der "Hund" <b>schläft</b>,\njetzt.'


TASK = {
    "kind": "generation",
    "max_answer_bytes": 60,
    "encoder": {"kind": "static_text", "path": "encoder"},
    "domains": {"manuals": {"source": "x.csv", "text": "english"}},
}


def question(i):
    payload = Payload(
        text=f"The dog sleeps {i}.",
        predicted=SUGGESTED,
        confidence=0.75,
        specialists={"memory": (SUGGESTED, 0.8)},
    )
    return Question(
        campaign="tiny",
        round=1,
        task="german",
        domain="manuals",
        sample_id=i,
        votes=1,
        priority=-float(i),
        payload=payload,
        hide_prediction=i == 4,
    )


@pytest.fixture
def writing(tmp_path):
    """A site with five questions, of which the last has no suggestion."""
    world = OneTask(tmp_path, "german", TASK, [question(i) for i in range(5)])
    with closing(world.store):
        yield world


def test_the_page_shows_a_field_and_what_is_suggested(writing):
    html = writing.client("annotator").get("/items?n=5").text
    assert html.count('<textarea class="written"') == 5
    assert html.count("data-suggested=") == 4  # the last one is hidden
    assert "&lt;b&gt;schläft&lt;/b&gt;,\njetzt." in html
    assert "75% sure to be good" in html
    assert "<b>schläft</b>" not in html


def test_an_answer_is_kept_as_written_and_refused_where_it_is_too_long(writing):
    client = writing.client("annotator")
    held = client.get("/api/questions?n=2").json()

    def post(number, label):
        body = {"client_key": f"the-key-{len(label)}", "samples": [held[number]["sample"]]}
        return client.post("/api/answers", json={**body, "label": label})

    refused = post(0, "ä" * 31)
    assert (refused.status_code, "more than the 60" in refused.text) == (422, True)
    assert post(0, " Zwei\r\nZeilen ").status_code == 200
    assert writing.labels() == {0: "Zwei\nZeilen"}


@pytest.mark.browser
def test_a_suggestion_is_accepted_edited_or_replaced(writing, chromium):
    with serving(writing) as address, annotating(chromium, address, "annotator") as user:
        first = user.item  # as it is
        user.press("Enter")
        user.next_after(first)

        second = user.item  # edited; Escape keeps what is written
        user.press("e")
        user.page.keyboard.press("Control+End")
        user.page.keyboard.type(" Ja")
        user.press("Escape")
        assert user.page.input_value("article.item .written") == f"{SUGGESTED} Ja"
        assert user.page.inner_text(".confirm span") == "answer with what is written"
        assert user.violations() == []
        user.press("Enter")
        user.next_after(second)

        third = user.item  # replaced; in the field Enter is a new line
        user.press("e")
        user.page.keyboard.press("Control+A")
        user.page.keyboard.type("Kein")
        user.press("Enter")
        user.page.keyboard.type("snfu")
        user.page.keyboard.press("Control+Enter")
        user.next_after(third)

        fourth = user.item  # too long
        user.press("e")
        user.page.keyboard.type("x" * 61)
        user.page.keyboard.press("Control+Enter")
        assert "bytes too long" in user.page.inner_text("#status")
        assert user.item == fourth
        user.page.keyboard.press("Control+A")
        user.page.keyboard.type("kurz")
        user.page.keyboard.press("Control+Enter")
        user.next_after(fourth)

        hidden = user.item  # nothing is suggested
        user.press("Enter")
        assert "Nothing is written" in user.page.inner_text("#status")
        assert user.item == hidden
        user.saved()
    assert writing.labels() == {
        int(first): SUGGESTED,
        int(second): f"{SUGGESTED} Ja",
        int(third): "Kein\nsnfu",
        int(fourth): "kurz",
    }
