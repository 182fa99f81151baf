"""A task whose answers are sets of labels: on the page, in the API and in files."""

import json
import re
from contextlib import closing

import pytest

from tests.web.conftest import World
from tests.web.worlds import CLASSES, TOPICS, answer, ids
from umc_ray.annotation.review import decisions
from umc_ray.tasks.forms import NONE
from umc_ray.web.people import people_summary

KEY = "0123456789abcdef"


def make(folder, **values):
    folder.mkdir(exist_ok=True)
    return World(folder, domain_keys=(TOPICS,), **values)


@pytest.fixture
def world(tmp_path):
    world = make(tmp_path)
    with closing(world.store):
        yield world


def sample(index):
    here = {"task": "topics", "domain": "mail", "round": 2}
    return {**here, "sample_id": str(ids(TOPICS, 2)[index])}


def said(index, person, label, **values):
    return answer(ids(TOPICS, 2)[index], person, label, TOPICS, **values)


def labels_of(world):
    return [each.label for each in world.store.answers("tiny", 2)]


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        (["praise", "billing"], "billing | praise"),
        ("praise | billing", "billing | praise"),
        ("delivery", "delivery"),
        ([], NONE),
        (NONE, NONE),
        (None, None),
    ],
)
def test_an_answer_is_a_list_of_labels_or_the_text_of_one(world, label, kept):
    body = {"client_key": KEY, "samples": [sample(0)], "label": label}
    world.give("annotator", 1)
    for _ in range(2):
        saved = world.client("annotator").post("/api/answers", json=body)
        assert saved.json() == {"saved": 1}
    assert labels_of(world) == [kept]


@pytest.mark.parametrize("label", ["x", ["x"], ["billing", "x"], "", "billing, praise", [1], {}])
def test_another_answer_is_refused(world, label):
    body = {"client_key": KEY, "samples": [sample(0)], "label": label}
    assert world.client("annotator").post("/api/answers", json=body).status_code == 422
    assert labels_of(world) == []


def test_a_question_says_what_can_be_answered(world):
    (first,) = world.client("annotator").get("/api/questions?n=1").json()
    assert first["labels"] == CLASSES["topics"]
    assert first["hint"] == "any of: billing | delivery | praise | (none)"


def test_a_reviewer_decides_on_a_set(world):
    body = {"client_key": KEY, "sample": sample(0), "label": ["praise", "delivery"]}
    assert world.client("reviewer").post("/api/decisions", json=body).status_code == 204
    assert [each.label for each in decisions(world.store, "tiny").values()] == ["delivery | praise"]


def boxes(html):
    """Return the labels of the boxes of each item, and which of them are suggested."""
    found = []
    for article in html.split("<article")[1:]:
        label = r'<label class="choice( suggested)?" data-key="[^"]*">'
        choices = re.findall(label + r"\s*<input([^>]*)>", article)
        assert not [attributes for _, attributes in choices if "checked" in attributes]
        found.append(
            [re.search('value="(.*?)"', each)[1] for suggested, each in choices if suggested]
        )
        assert len(choices) == len(CLASSES["topics"])
    return found


def test_the_page_shows_all_suggested_labels_and_checks_none(world):
    html = world.client("annotator").get("/items?n=4").text
    assert boxes(html) == [[], ["delivery"], ["delivery", "praise"], []]
    assert html.count('data-do="confirm"') == 4
    assert "75%" in html


def test_a_hidden_suggestion_never_reaches_the_page(tmp_path):
    world = make(tmp_path, suggestion="hidden")
    with closing(world.store):
        html = world.client("annotator").get("/items?n=4").text
        assert boxes(html) == [[], [], [], []]
        assert not re.search("%|suggested|★", html)


def test_groups_and_reviews_have_boxes_too(world):
    world.store.record([said(0, "ann", "billing"), said(1, "ann", NONE)], ["a", "b"])
    world.store.raise_votes(world.store.questions("tiny", 2)[:1], 2)
    world.store.record([said(0, "bob", "billing | praise")], ["c"])
    html = world.client("reviewer").get("/review/items").text
    assert boxes(html) == [[]]
    assert "billing | praise</b>" in html
    group = world.client("annotator").get("/groups/next").text
    assert group.count('class="choice"') == len(CLASSES["topics"])
    assert 'data-do="confirm"' in group


def test_neighbors_have_one_of_the_two_most_probable_labels_and_come_once(world):
    question = world.store.question(("tiny", "topics", ids(TOPICS, 2)[2]))
    near = world.site.similar.neighbors(question)
    assert question.payload.predicted == "delivery | praise"
    assert {each.label for each in near} <= {"delivery", "delivery | praise"}
    assert len({each.question.sample_id for each in near}) == len(near) >= 2


def test_agreement_counts_what_sets_have_in_common(world):
    world.store.record(
        [
            said(0, "ann", "billing | praise", seen=True),
            said(0, "bob", "billing"),
            said(1, "ann", NONE),
            said(1, "bob", NONE),
            said(2, "ann", None),
        ],
        list("abcde"),
    )
    summary = people_summary(world.store, "tiny", world.run.kinds)
    ann, bob = summary.annotators
    assert (ann.agreement.count, ann.agreement.total) == (1.5, 2)
    assert str(bob.agreement) == "75% of 2"
    assert ann.skips.count == 1
    # Of votes {billing, praise}, {billing}, {}, {}: pairs within samples are apart by 1/2 and 0,
    # all pairs by (1/2 + 4 * 1 + 0) / 6 in the mean.
    assert summary.alphas["topics"] == pytest.approx(1 - 0.25 / 0.75)


BATCH = {
    "task": "topics",
    "domain": "mail",
    "samples": [
        {"text": "both", "probabilities": {"billing": 0.9, "praise": 0.6, "delivery": 0.2}},
        {"text": "none", "probabilities": {"billing": 0.1}},
        {"text": "known", "gold": ["praise", "billing"]},
    ],
}


def test_a_batch_suggests_what_its_probabilities_say(world):
    assert world.client("reviewer").post("/api/batches/b", json=BATCH).json()["new"] == 3
    payloads = [each.payload for each in world.store.questions("tiny/b")]
    assert [each.predicted for each in payloads] == ["billing | praise", NONE]
    assert payloads[0].confidence == pytest.approx(0.9 * 0.6 * 0.8)
    html = world.client("annotator").get("/items?batch=b").text
    assert sorted(boxes(html)) == [[], ["billing", "praise"]]
    wrong = {**BATCH, "samples": [{"text": "x", "probabilities": {"billing | praise": 0.9}}]}
    assert world.client("reviewer").post("/api/batches/c", json=wrong).status_code == 422


ANSWERS = [
    said(0, "ann", "billing | praise", seconds=2.5),
    said(0, "bob", NONE),
    said(1, "ann", None),
    said(2, "ann", "delivery"),
]


@pytest.mark.parametrize("format", ["jsonl", "csv", "label_studio", "prodigy"])
def test_exported_sets_can_be_imported_unchanged(world, format, tmp_path):
    world.store.record(ANSWERS, list("abcd"))
    content = world.client("reviewer").get(f"/api/labels?format={format}").content
    other = make(tmp_path / "other")
    with closing(other.store):
        for new in (4, 0):
            url = f"/api/labels?format={format}"
            response = other.client("admin").post(url, content=content)
            assert response.json() == {"read": 4, "new": new}
        given = {(each.sample_id, each.annotator): each.label for each in ANSWERS}
        found = other.store.answers("tiny")
        assert {(each.sample_id, each.annotator): each.label for each in found} == given


def test_other_tools_get_a_list_of_choices(world):
    world.store.record(ANSWERS[:2], list("ab"))
    client = world.client("reviewer")
    lines = client.get("/api/labels?format=prodigy").text.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["accept"] for row in rows] == [["billing", "praise"], []]
    assert [row["answer"] for row in rows] == ["accept", "accept"]
    assert [each["id"] for each in rows[0]["options"]] == CLASSES["topics"]
    task = client.get("/api/labels?format=label_studio").json()[0]
    results = [each["result"][0]["value"]["choices"] for each in task["annotations"]]
    assert results == [["billing", "praise"], []]
    assert task["predictions"][0]["result"][0]["value"] == {"choices": []}
    task["annotations"][1]["result"] = []  # as Label Studio has a form in which nothing is chosen
    again = world.client("admin").post(
        "/api/labels?format=label_studio", content=json.dumps([task])
    )
    assert again.json() == {"read": 2, "new": 0}
    assert labels_of(world) == ["billing | praise", NONE]


def test_the_label_of_a_question_is_what_most_people_chose_for_each_label(world):
    votes = [said(0, "ann", "billing | praise"), said(0, "bob", "billing"), said(0, "cy", NONE)]
    world.store.record(votes, list("abc"))
    row = json.loads(world.client("reviewer").get("/api/labels").text.splitlines()[0])
    assert (row["label"], row["reviewed"]) == ("billing", False)
