"""Labels in the card of a release."""

from types import SimpleNamespace

from umc_ray.release import card
from umc_ray.release.card import ShownLabels


def counted(**classes):
    return SimpleNamespace(classes=classes)


FILES = [counted(a=1, b=2, c=5), counted(b=4, d=1)]


def test_a_few_labels_are_all_shown():
    assert ShownLabels.of(("d", "c", "b", "a"), FILES) == ShownLabels(("d", "c", "b", "a"), 0)


def test_of_many_labels_the_most_frequent_are_shown_and_the_others_counted(monkeypatch):
    monkeypatch.setattr(card, "LABELS_SHOWN", 2)
    found = ShownLabels.of(("a", "b", "c", "d"), FILES)
    assert found == ShownLabels(("b", "c"), 2)
    assert [found.of_others(file) for file in FILES] == [1, 1]
