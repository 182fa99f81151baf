import pickle

import pytest

from umc_ray.errors import DataError
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.spelling import LabelSet, check_labels, closest_label, find_label, shown

LABELS = ("Sports", "caf\u00e9", "skip it", "1", "-2.5", "true", "US", "us")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Sports", "Sports"),
        (" Sports", "Sports"),
        ("SPORTS\u00a0", "Sports"),
        ("sp\u200borts", "Sports"),
        ("cafe\u0301", "caf\u00e9"),
        ("CAFE\u0301", "caf\u00e9"),
        ("skip  it ", "skip it"),
        ("Skip\tit", "skip it"),
        ("1.0", "1"),
        ("+1", "1"),
        ("01", "1"),
        ("-2.50", "-2.5"),
        ("True", "true"),
        ("US ", "US"),
        ("us", "us"),
    ],
)
def test_a_label_may_be_spelled_in_any_way_that_means_one(text, label):
    assert find_label(text, LABELS) == label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Us", "label 'Us' could be 'US' or 'us'"),
        ("sprots", "label 'sprots' (did you mean 'Sports'?) is not one of Sports, "),
        ("", "label '' is not one of Sports, "),
        ("\u200b", r"label '\u200b' is not one of "),
        ("2", "label '2' is not one of "),
        ("1,0", "label '1,0' is not one of "),
        ("cafeteria\u0301", r"label 'cafeteria\u0301' is not one of "),
    ],
)
def test_what_means_none_or_several_is_an_error_that_says_so(text, message):
    with pytest.raises(DataError) as raised:
        find_label(text, LABELS)
    assert str(raised.value).startswith(message)


def test_numbers_mean_what_their_label_set_tells_apart():
    assert find_label("1.0", ("1", "1.0")) == "1.0"
    assert find_label("+1", ("+1", "-1", "0")) == "+1"
    assert find_label("1", ("+1", "-1", "0")) == "+1"
    assert find_label("-0", ("+1", "-1", "0")) == "0"
    with pytest.raises(DataError, match=r"label '01' could be '1' or '1\.0'"):
        find_label("01", ("1", "1.0"))
    assert find_label("9" * 40, ("9" * 40 + ".0", "9" * 39 + "8")) == "9" * 40 + ".0"


def test_a_column_of_texts_is_not_compared_with_every_label():
    assert closest_label("Sport", LABELS) == "Sports"
    assert closest_label("x" * 81, ("x" * 80, "y")) is None
    assert shown("x" * 81) == f"'{'x' * 80}...'"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a", ""), "label '' is blank"),
        (("a", "\u200b"), r"label '\\u200b' is blank"),
        (("a", "b", " a"), "labels 'a' and ' a' look the same"),
        (("caf\u00e9", "cafe\u0301"), r"labels 'café' and 'cafe\\u0301' look the same"),
        (("a b", "a  b"), "labels 'a b' and 'a  b' look the same"),
    ],
)
def test_labels_that_people_cannot_tell_apart_are_an_error(labels, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels)


def test_labels_may_differ_in_case_or_as_numbers_look():
    check_labels(("US", "us", "1", "1.0", "01"))


def test_a_synonym_means_its_label_in_any_spelling():
    labels = LabelSet(("sports", "news"), {"Football": "sports", "2": "news"})
    assert [find_label(text, labels) for text in ("Football", " FOOTBALL", "2.0", "news")] == [
        "sports",
        "sports",
        "news",
        "news",
    ]
    assert labels == ("sports", "news")
    with pytest.raises(ValueError, match="synonym 'news' must be another name of a label"):
        LabelSet(labels, {"news": "sports"})
    assert pickle.loads(pickle.dumps(labels)).synonyms == labels.synonyms
    with pytest.raises(DataError, match=r"label 'Foot' .*is not one of sports, news"):
        find_label("Foot", labels)


def test_several_labels_where_there_is_one_are_told_with_the_kind_that_has_several():
    kind = Classification(("cat", "dog"))
    assert kind.parse(["dog"]) == "dog"
    with pytest.raises(DataError, match=r"2 labels, 'dog', 'cat', where .*; kind: multi_label has"):
        kind.parse(["dog", "cat"])
