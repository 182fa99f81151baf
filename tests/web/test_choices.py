"""Which labels the page offers, in which order, and with which keys."""

from contextlib import closing

import pytest
from pydantic import ValidationError

from tests.tiny import campaign
from tests.web.conftest import World
from tests.web.test_browser import annotating, answers_of, serving
from tests.web.worlds import CLASSES, TEXT
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.label_hint import LabelHint
from umc_ray.tasks.forms import ChoiceForm
from umc_ray.web.choices import KEYS, choices, label_keys, plain_choices, with_hints

MANY = tuple(f"label {i:03d}" for i in range(300))


@pytest.mark.parametrize(
    ("labels", "keys"),
    [
        (("bad", "good"), ["1", "2"]),
        (tuple("0123456789"), list("0123456789")),
        (("7", "other", "1", "none"), ["7", "2", "1", "3"]),
        (MANY[:20], list(KEYS)),
    ],
)
def test_a_label_that_is_a_digit_has_its_own_key(labels, keys):
    assert label_keys(labels) == dict(zip(labels, keys, strict=True))


def test_while_there_are_keys_for_all_labels_each_keeps_its_place():
    found = choices(ChoiceForm(("a", "b", "c")), {"c": 0.9, "a": 0.1}, "c")
    assert [(each.label, each.key, each.share) for each in found] == [
        *(("a", "1", 0.1), ("b", "2", None), ("c", "3", 0.9))
    ]
    assert [each.suggested for each in found] == [False, False, True]


def test_of_many_labels_the_most_probable_come_first():
    shares = {MANY[9]: 0.1, MANY[200]: 0.6, MANY[5]: 0.2} | {MANY[i]: 0.01 for i in range(20, 26)}
    found = choices(ChoiceForm(MANY), shares, MANY[200])
    assert [each.label for each in found[:5]] == [MANY[i] for i in (200, 5, 9, 20, 21)]
    assert [each.key for each in found[:6]] == ["1", "2", "3", "4", "5", ""]
    assert {each.label for each in found} == set(MANY)
    concealed = choices(ChoiceForm(MANY), shares, MANY[200], ranked=False)
    assert [each.label for each in concealed] == list(MANY)


HINTS = {
    "a": LabelHint(key="p", help="the first letter"),
    "b": LabelHint(group="others"),
    "d": LabelHint(group="others", key="q"),
}


def test_labels_have_the_keys_and_texts_that_the_campaign_names_and_stand_in_groups():
    form = ChoiceForm(("a", "b", "c", "d"))
    found = with_hints(choices(form, {"d": 0.9}, "d"), HINTS)
    shown = [(each.label, each.key, each.help, each.group, each.share) for each in found]
    assert shown == [
        ("a", "p", "the first letter", None, None),
        ("c", "3", None, None, None),
        ("b", "2", None, "others", None),
        ("d", "q", None, "others", 0.9),
    ]


def test_of_many_labels_the_most_probable_stay_ahead_of_all_groups():
    hints = {MANY[200]: LabelHint(group="far"), MANY[3]: LabelHint(group="near")}
    found = with_hints(choices(ChoiceForm(MANY), {MANY[200]: 0.6, MANY[9]: 0.1}, MANY[200]), hints)
    assert [(each.label, each.group) for each in found[:2]] == [(MANY[200], None), (MANY[9], None)]
    assert (found[-1].label, found[-1].group) == (MANY[3], "near")
    assert {each.label for each in found} == set(MANY)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"mood": {"good": {"key": "s"}}}, "is a command of the page"),
        ({"mood": {"good": {"key": "Z"}}}, "one letter from a to z"),
        (
            {"mood": {"good": {"key": "p"}, "bad": {"key": "p"}}},
            "two labels of mood have the key",
        ),
        ({"mood": {"nice": {"key": "p"}}}, "task mood has no label 'nice'"),
        ({"moods": {"good": {"key": "p"}}}, "there is no task moods"),
    ],
)
def test_keys_that_cannot_be_pressed_and_labels_that_are_not_there_are_refused(
    tmp_path, labels, message
):
    values = campaign(tmp_path)
    values["annotation"]["labels"] = labels
    with pytest.raises(ValidationError, match=message):
        CampaignConfig.model_validate(values)


def test_a_letter_of_the_campaign_labels_an_item(tmp_path, chromium):
    hints = {"mood": {"good": {"key": "p", "help": "the writer is content", "group": "kind"}}}
    world = World(tmp_path, domain_keys=(TEXT,), labels=hints)
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "annotator") as user,
    ):
        item = user.item
        user.shoot("label_hints")
        assert user.violations() == []
        assert "the writer is content" in user.page.inner_text(".choices")
        user.press("p")
        user.next_after(item)
        user.saved()
    assert [(str(e.sample_id), e.label) for e in answers_of(world, "annotator")] == [(item, "good")]


def test_without_predictions_no_label_is_ahead():
    found = plain_choices(ChoiceForm(MANY))
    assert [each.label for each in found] == list(MANY)
    assert {each.key for each in found} == {""}


@pytest.mark.browser
def test_many_labels_are_searched_and_recent_ones_have_keys(tmp_path, chromium, monkeypatch):
    monkeypatch.setitem(CLASSES, "mood", ["bad", "good", *MANY])
    world = World(tmp_path, domain_keys=(TEXT,))
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "annotator") as user,
    ):
        given = {}

        def find(text):
            given[item := user.item] = text
            user.press("/")
            user.page.keyboard.type(text.upper())
            user.press("Enter")
            user.next_after(item)

        assert user.page.locator(".choice[data-key='1'] .name").inner_text() == "bad"  # suggested
        find("label 123")
        find("label 007")
        user.press("/")
        user.page.keyboard.type("label 29")
        assert user.page.locator(".choice:visible").count() == 10
        assert user.violations() == []
        user.shoot("many_labels")
        user.press("Escape")
        last = user.item
        for key, label in (("6", "label 007"), ("7", "label 123")):  # newest first
            given[user.label(key)] = label
        user.press("u", "u")
        assert user.item == last
        keys = user.page.eval_on_selector_all(
            ".choice[data-recent]", "(all) => all.map((each) => each.dataset.key)"
        )
        assert keys == ["6", "7"]  # once each
        for label in ("label 007", "label 123"):
            find(label)
        user.saved()
        assert user.page.evaluate("document.documentElement.scrollWidth") <= 1280
    found = {str(each.sample_id): each.label for each in answers_of(world, "annotator")}
    assert found == given
