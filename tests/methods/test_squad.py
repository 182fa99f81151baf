import pytest

from umc_ray.methods.squad import exact_match, f1, is_tied, most_agreed, normalized

# Worked by hand after evaluate-v1.1.py and evaluate-v2.0.py of SQuAD.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Eiffel Tower!", "eiffel tower"),
        ("an apple a day", "apple day"),
        ("Theatre", "theatre"),
        ("U.S.", "us"),
        ("the", ""),
        ("a-b", "ab"),
        (" 1,000\tkm ", "1000 km"),
    ],
)
def test_texts_are_normalized_as_published(text, expected):
    assert normalized(text) == expected


def test_exact_match_knows_no_case_articles_or_punctuation():
    assert exact_match("the Broncos", ["Denver Broncos", "Broncos."])
    assert not exact_match("Denver", ["Denver Broncos"])


@pytest.mark.parametrize(
    ("predicted", "golds", "expected"),
    [
        ("Denver Broncos", ["Broncos"], 2 / 3),
        ("the Denver Broncos", ["Carolina", "Denver"], 2 / 3),  # the best of the answers
        ("to be or not to be", ["to be"], 4 / 8),  # words count as often as they occur
        ("to to", ["to be"], 2 / 4),
        ("Carolina", ["Denver"], 0),
        ("", ["Denver"], 0),
        ("Denver", [], 0),
        ("", [], 1),
        ("the", [], 1),  # nothing is left of it
        ("Denver", ["the", "Denver"], 1),  # an answer that is an article only does not count
        ("", ["the"], 1),
    ],
)
def test_f1_is_that_of_the_best_answer(predicted, golds, expected):
    assert f1(predicted, golds) == pytest.approx(expected)
    assert exact_match(predicted, golds) == (expected == 1)


def test_answers_are_tied_if_different_words_agree_as_well_with_the_others():
    assert is_tied(["Rome", "Paris"])
    assert is_tied(["Rome", "Paris", "Paris", "Rome"])
    assert not is_tied(["Rome", "the Rome"])
    assert not is_tied(["Rome", "Paris", "Rome"])
    assert not is_tied(["Rome"])


def test_the_most_agreed_answer_has_the_highest_mean_f1_to_the_others():
    assert most_agreed(["Denver", "the Denver Broncos", "Denver Broncos team"]) == 1
    assert most_agreed(["", "Paris", ""]) == 0
    assert most_agreed(["Rome", "Paris"]) == 0
    assert most_agreed(["Rome"]) == 0
