"""Answers that people write, as text: the answer itself or, if there are several right ones, JSON.

Several are `{"references": ["a text", "another one"]}`, in the order in which they came: a text of
that form alone is read as several, so that any other text can be an answer.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeGuard

from umc_ray.errors import DataError
from umc_ray.methods.json_objects import unique_keys
from umc_ray.methods.text_lists import CUT
from umc_ray.methods.unicode_text import comparable, has_half_characters, is_blank
from umc_ray.tasks.spelling import shown

SEVERAL = "references"
EXPECTED = f'a text, or a list of texts that are all right, as {{"{SEVERAL}": ["one", "another"]}}'
_BEGIN = f'{{"{SEVERAL}": ['
_SEVERAL = re.compile(rf'\s*\{{\s*"{SEVERAL}"\s*:', re.IGNORECASE)
"""How several begin as other programs write them, or a person who means them."""


def answer_text(texts: Iterable[str]) -> str:
    """Return some right answers as text, equal ones once."""
    each = list(dict.fromkeys(texts))
    return each[0] if len(each) == 1 else json.dumps({SEVERAL: each}, ensure_ascii=False)


@lru_cache(maxsize=65_536)
def texts_of(answer: str) -> tuple[str, ...]:
    """Return the right answers of a text of `answer_text`."""
    if not answer.startswith(_BEGIN):
        return (answer,)
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):  # a model may write anything
        return (answer,)
    return tuple(found[SEVERAL]) if _are_texts(found[SEVERAL]) else (answer,)


def first_text(answer: str) -> str:
    """Return a prediction, a person's answer, or the first one of several."""
    return texts_of(answer)[0]


def read_texts(raw: object, longest: int) -> list[str]:
    """Return the right answers that a file, a sheet, the page or an API gives.

    Args:
        raw: a text, a list of texts, or several as this module writes them.
        longest: how many bytes each may have.

    Raises:
        DataError: it is none of them, or too long.
    """
    found = raw
    if isinstance(raw, str) and not _SEVERAL.match(raw):
        return [_checked(raw, longest)]
    if isinstance(raw, str):
        try:
            found = json.loads(raw, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{shown(raw)} is not {EXPECTED}") from error
    if isinstance(found, Mapping) and found.keys() == {SEVERAL}:
        found = found[SEVERAL]
    if _are_texts(found):
        return [_checked(each, longest) for each in found]
    raise DataError(f"{shown('' if raw is None else str(raw))} is not {EXPECTED}")


def is_listed(answer: str) -> bool:
    """Return whether an answer is a JSON list of texts, which its author may take for several."""
    if not answer.startswith("["):
        return False
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return _are_texts(found)


def _are_texts(found: object) -> TypeGuard[Sequence[str]]:
    if not isinstance(found, list | tuple):
        return False
    return bool(found) and all(isinstance(each, str) for each in found)


def _checked(text: str, longest: int) -> str:
    text = comparable(text)
    if is_blank(text) or "\0" in text:
        raise DataError(f"{shown(text)} is not {EXPECTED}")
    if has_half_characters(text):
        raise DataError(f"{shown(text)} has half a character, which no file can hold")
    size = len(text.encode())
    if size > longest:
        raise DataError(
            f"{shown(text)} has {size} bytes, more than the {longest} of max_answer_bytes: raise "
            "it in a new campaign, or shorten the answer"
        )
    return text


def quoted(answer: str) -> str:
    """Return an answer as part of a sentence."""
    line = " ".join(first_text(answer).split())
    return f"“{line if len(line) <= 60 else line[:59] + CUT}”"
