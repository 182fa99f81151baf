import numpy as np

from umc_ray.methods.words import distinguishing_words


def test_words_of_one_group_are_returned_most_distinctive_first():
    often = ["The oven, the salt!"] * 30 + ["the oven"] * 30
    groups = [often, ["the goal and the referee"] * 60, ["the"] * 60]
    kitchen, football, rest = distinguishing_words(groups, 5)
    assert kitchen == ["oven", "salt"]
    assert football == ["and", "goal", "referee"]  # equally distinctive: in alphabetical order
    assert rest == ["the"]  # in all groups, but this one has no other word


def test_a_word_counts_once_per_text_and_the_number_of_words_is_limited():
    groups = [["spam spam spam spam"] + ["egg ham"] * 40, ["tea milk"] * 40]
    assert distinguishing_words(groups, 1) == [["egg"], ["milk"]]


def test_random_differences_are_not_distinctive():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["ab", "cd", "ef", "gh"], 2)) for _ in range(400)]
    assert distinguishing_words([texts[:200], texts[200:]], 4) == [[], []]


def test_groups_without_words_have_none():
    assert distinguishing_words([["12 !"], []], 3) == [[], []]
