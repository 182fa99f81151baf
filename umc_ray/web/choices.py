"""The labels that the page offers, in their order, each with its key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from umc_ray.tasks.forms import Form

DIGITS = "1234567890"
KEYS = (*DIGITS, *(f"⇧{digit}" for digit in DIGITS))

BEST = 5
"""Of more labels than there are keys, so many that are most probable come first and have keys."""


@dataclass(frozen=True)
class Choice:
    """A label to choose; `share` is the ensemble's probability, None if it is hidden."""

    label: str
    key: str
    share: float | None
    suggested: bool


def plain_choices(form: Form) -> tuple[Choice, ...]:
    """Return the labels of a form, without predictions."""
    return choices(form, {}, None)


def choices(
    form: Form, shares: Mapping[str, float], predicted: str | None, ranked: bool = True
) -> tuple[Choice, ...]:
    """Return the labels of a form, with what is predicted.

    While there are keys for all, each label keeps its place and its key. Of more, the most probable
    ones come first, if they are `ranked`; the page searches the others.
    """
    suggested = () if predicted is None else form.chosen(predicted)
    if len(form.labels) <= len(KEYS):
        keys = label_keys(form.labels)
        return tuple(Choice(each, keys[each], shares.get(each), each in suggested) for each in keys)
    likely = [each for each in form.labels if ranked and (each in suggested or each in shares)]
    likely.sort(key=lambda each: (each not in suggested, -shares.get(each, 0.0)))
    best = dict(zip(likely[:BEST], KEYS, strict=False))
    rest = [each for each in form.labels if each not in best]
    first = [Choice(each, key, shares.get(each), each in suggested) for each, key in best.items()]
    return (*first, *(Choice(each, "", None, each in suggested) for each in rest))


def label_keys(labels: Sequence[str]) -> dict[str, str]:
    """Return the key of each label, which are no more than there are keys.

    A label that is a digit has its own key; the others have those that are left, in their order.
    """
    own = {label: label for label in labels if label in KEYS}
    left = iter([key for key in KEYS if key not in own])
    return {label: own.get(label) or next(left) for label in labels}
