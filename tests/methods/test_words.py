import numpy as np

from umc_ray.methods.words import distinguishing_words


def test_words_of_one_group_come_before_those_of_both_and_the_clearest_first():
    often = ["The oven, the salt!"] * 30 + ["the oven"] * 30
    groups = [often, ["the goal and the referee"] * 60, ["the"] * 60]
    kitchen, football, rest = distinguishing_words(groups, 5)
    assert kitchen == ["oven", "salt"]
    assert football == ["and", "goal", "referee"]  # equally clear: by the alphabet
    assert rest == ["the"]  # in all, but there is nothing else


def test_a_word_counts_once_in_a_text_and_only_as_many_as_asked_come_back():
    groups = [["spam spam spam spam"] + ["egg ham"] * 40, ["tea milk"] * 40]
    assert distinguishing_words(groups, 1) == [["egg"], ["milk"]]


def test_chance_is_no_distinction():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["ab", "cd", "ef", "gh"], 2)) for _ in range(400)]
    assert distinguishing_words([texts[:200], texts[200:]], 4) == [[], []]


def test_groups_without_words_have_none():
    assert distinguishing_words([["12 !"], []], 3) == [[], []]
