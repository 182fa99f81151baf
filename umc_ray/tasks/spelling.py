"""The one rule for how a label may be spelled, wherever an answer comes from.

A label is meant by its exact text, or that of a synonym. Otherwise by the first of these forms in
which exactly one label equals the text:

1. look: Unicode NFC, without invisible characters, runs of white space one space, none at the ends
2. case: the same in any case, so `True` is `true`
3. value: the same number, so `1.0`, `+1` and `01` are `1`
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Self

from umc_ray.errors import DataError
from umc_ray.methods.unicode_text import escaped, is_blank, without_invisible

EMPTY: Mapping[str, str] = MappingProxyType({})

_NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?", re.ASCII)
_SUGGESTED_AMONG = 200  # labels that a text is compared with for "did you mean"
_SHOWN_CHARS = 80  # of a text that is no label: often the wrong column


class LabelSet(tuple[str, ...]):
    """The labels of a task in their order, with other names for some of them.

    It equals the plain tuple of the labels: a synonym changes what is read, not what is learned.
    """

    synonyms: Mapping[str, str]

    def __new__(cls, labels: Iterable[str], synonyms: Mapping[str, str] = EMPTY) -> Self:
        """Take the labels, and by synonym the label that it means.

        Raises:
            ValueError: a synonym is a label itself, or means none.
        """
        made = super().__new__(cls, labels)
        for synonym, label in synonyms.items():
            if synonym in made or label not in made:
                raise ValueError(
                    f"synonym {shown(synonym)} must be another name of a label, found "
                    f"{shown(label)}; the labels are {', '.join(map(escaped, made))}"
                )
        made.synonyms = dict(synonyms)
        return made


def find_label(text: str, labels: Sequence[str]) -> str:
    """Return the label that a text means.

    Raises:
        DataError: none, or several; names the closest one.
    """
    if text in labels:
        return text
    synonyms = labels.synonyms if isinstance(labels, LabelSet) else EMPTY
    if text in synonyms:
        return synonyms[text]
    tables = _tables(tuple(labels), tuple(synonyms.items()))
    for form, label_by_form in zip(_FORMS, tables, strict=True):
        found = label_by_form.get(form(text), ())
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"label {shown(text)} could be {' or '.join(map(shown, found))}")
    closest = closest_label(text, labels)
    suggestion = f" (did you mean {shown(closest)}?)" if closest else ""
    raise DataError(
        f"label {shown(text)}{suggestion} is not one of {', '.join(map(escaped, labels))}"
    )


def closest_label(text: str, labels: Sequence[str]) -> str | None:
    """Return the label that a text probably means, or None."""
    if len(text) > _SHOWN_CHARS or len(labels) > _SUGGESTED_AMONG:
        return None
    label_by_case = {_case(label): label for label in labels}
    found = difflib.get_close_matches(_case(text), label_by_case, n=1)
    return label_by_case[found[0]] if found else None


def check_labels(labels: Sequence[str]) -> None:
    """Make sure that people can tell labels apart.

    Raises:
        ValueError: a label is blank, or two of them look the same.
    """
    first: dict[str, str] = {}
    for label in labels:
        if is_blank(label):
            raise ValueError(f"label {shown(label)} is blank; give it a name")
        same = first.setdefault(_look(label), label)
        if same != label:
            raise ValueError(
                f"labels {shown(same)} and {shown(label)} look the same; leave one of them out"
            )


def shown(text: str) -> str:
    """Return a text in quotes for messages, with escapes for what one cannot see."""
    cut = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
    return f"'{escaped(cut)}'"


def _look(text: str) -> str:
    return without_invisible(text)


def _case(text: str) -> str:
    return unicodedata.normalize("NFC", _look(text).casefold())


def _value(text: str) -> str:
    folded = _case(text)
    found = _NUMBER.fullmatch(folded)
    if found is None:
        return folded
    sign, whole, fraction = found.groups(default="")
    number = f"{whole.lstrip('0') or '0'}.{fraction.rstrip('0')}".rstrip(".")
    return number if sign != "-" or number == "0" else f"-{number}"


_FORMS = (_look, _case, _value)


@lru_cache(maxsize=64)
def _tables(
    labels: tuple[str, ...], synonyms: tuple[tuple[str, str], ...]
) -> list[Mapping[str, tuple[str, ...]]]:
    """Return, for each form, the labels that have it, or whose synonyms do."""
    tables: list[Mapping[str, tuple[str, ...]]] = []
    for form in _FORMS:
        found: dict[str, tuple[str, ...]] = {}
        for name, label in (*zip(labels, labels, strict=True), *synonyms):
            known = found.get(form(name), ())
            found[form(name)] = known if label in known else (*known, label)
        tables.append(found)
    return tables
