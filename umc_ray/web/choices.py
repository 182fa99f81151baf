"""The labels that the page offers, in their order, each with its key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from umc_ray.config.label_hint import LabelHint
from umc_ray.tasks.forms import Form

DIGITS = "1234567890"
KEYS = (*DIGITS, *(f"⇧{digit}" for digit in DIGITS))

NO_HINT = LabelHint()

BEST = 5
"""Of more labels than there are keys, so many that are most probable come first and have keys."""


@dataclass(frozen=True)
class Choice:
    """A label to choose; `share` is the ensemble's probability, None if it is hidden."""

    label: str
    key: str
    share: float | None
    suggested: bool
    help: str | None = None
    group: str | None = None


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


def with_hints(choices: Sequence[Choice], hints: Mapping[str, LabelHint]) -> tuple[Choice, ...]:
    """Return choices with the keys and texts that the campaign names, those of a group together.

    Choices without a group come first; those that are most probable of many stay ahead.
    """
    found = [_with_hint(each, hints.get(each.label, NO_HINT)) for each in choices]
    groups = list(dict.fromkeys(each.group for each in found))
    order = {group: place for place, group in enumerate([None, *filter(None, groups)])}
    many = len(choices) > len(KEYS)
    ahead = [replace(each, group=None) for each in found if many and each.share is not None]
    names = {each.label for each in ahead}
    rest = [each for each in found if each.label not in names]
    return (*ahead, *sorted(rest, key=lambda each: order[each.group]))


def _with_hint(choice: Choice, hint: LabelHint) -> Choice:
    return replace(choice, key=hint.key or choice.key, help=hint.help, group=hint.group)


def label_keys(labels: Sequence[str]) -> dict[str, str]:
    """Return the key of each label, which are no more than there are keys.

    A label that is a digit has its own key; the others have those that are left, in their order.
    """
    own = {label: label for label in labels if label in KEYS}
    left = iter([key for key in KEYS if key not in own])
    return {label: own.get(label) or next(left) for label in labels}
