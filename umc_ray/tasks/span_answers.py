"""Answers that are spans of a context, as text: JSON in one spelling.

An answer is `{"start": 12, "text": "Paris"}`: the first character in the context, from 0, and what
stands there. Known answers may be several right ones, in a list, by start. No answer is
`(no answer)`. A start that is not known is -1.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from unicodedata import normalize

from umc_ray.errors import DataError
from umc_ray.methods.unicode_text import is_blank, without_invisible
from umc_ray.tasks.spelling import shown

NO_ANSWER = "(no answer)"
UNKNOWN = -1
BESIDE = 2
"""How many characters a start may be off: what miscounted characters make."""

EXPECTED = 'an answer such as {"start": 12, "text": "Paris"}, several in a list, or ' + NO_ANSWER


class Span(NamedTuple):
    """A piece of a context, from its character `start`."""

    start: int
    text: str


def answer_text(spans: Iterable[Span]) -> str:
    """Return some right answers as text; none: there is no answer."""
    each = [{"start": start, "text": text} for start, text in sorted(set(spans))]
    if not each:
        return NO_ANSWER
    return json.dumps(each[0] if len(each) == 1 else each, ensure_ascii=False)


def located(span: Span, context: str) -> Span:
    """Return where the text of a span stands in a context, in the context's own characters.

    That is at its start, at most BESIDE characters from it, or at the only place; the first place
    if the start is not known. Blanks around the text do not belong to it.

    Raises:
        DataError: it does not stand there, or far away at several places.
    """
    text = span.text.strip()
    start = span.start
    if start >= 0:
        start += len(span.text) - len(span.text.lstrip())
        if context.startswith(text, start):
            return Span(start, text)
    text, places = _places(text, context)
    if not places:
        raise DataError(f"answer {shown(text)} is not in the text")
    place = min(places, key=lambda each: abs(each - start))
    if start >= 0 and len(places) > 1 and abs(place - start) > BESIDE:
        where = ", ".join(map(str, places[:5]))
        raise DataError(f"answer {shown(text)} is not at {start} of the text, but at {where}")
    return Span(place, text)


def _places(text: str, context: str) -> tuple[str, list[int]]:
    """Return where a text stands, and the Unicode form in which it stands there."""
    for form in dict.fromkeys((text, normalize("NFC", text), normalize("NFD", text))):
        places = [found.start() for found in re.finditer(f"(?={re.escape(form)})", context)]
        if places:
            return form, places
    return text, []


@lru_cache(maxsize=65_536)
def spans_of(answer: str) -> tuple[Span, ...]:
    """Return the right answers of a text of `answer_text`."""
    if answer == NO_ANSWER:
        return ()
    found = json.loads(answer)
    each = found if isinstance(found, list) else [found]
    return tuple(Span(one["start"], one["text"]) for one in each)


def texts_of(answer: str) -> list[str]:
    """Return the texts of the right answers."""
    return [each.text for each in spans_of(answer)]


def first_text(answer: str) -> str:
    """Return the text of a prediction, or of a person's answer; empty if there is none."""
    return next(iter(texts_of(answer)), "")


def quoted(answer: str) -> str:
    """Return an answer as part of a sentence."""
    text = first_text(answer)
    return f"“{text}”" if text else "no answer"


def read_spans(raw: object) -> list[Span]:
    """Return the right answers that a file, a sheet, the page or an API gives.

    That is JSON as above, the `answers` of SQuAD in its JSON or Parquet layout, or a text itself,
    whose start is not known.

    Raises:
        DataError: it is none of them.
    """
    if isinstance(raw, str):
        return _of_text(raw)
    if isinstance(raw, Mapping):
        return _of_columns(raw) if isinstance(raw.get("text"), list) else [_span(raw)]
    if isinstance(raw, list | tuple):
        return [span for each in raw for span in read_spans(each)]
    raise DataError(f"{shown(str(raw))} is not {EXPECTED}")


def _of_text(raw: str) -> list[Span]:
    if without_invisible(raw).casefold() in (NO_ANSWER, "[]"):
        return []
    if is_blank(raw):
        raise DataError(f"{shown(raw)} is not {EXPECTED}")
    if '"text"' in raw and raw.lstrip()[:1] in ("{", "["):
        try:
            return read_spans(json.loads(raw))
        except (ValueError, RecursionError):
            pass  # a text may begin so
    return [Span(UNKNOWN, raw.strip())]


def _of_columns(raw: Mapping[str, Any]) -> list[Span]:
    """Read the layout of Hugging Face: a list of texts, and one of their starts."""
    texts, starts = raw["text"], raw.get("answer_start")
    if not isinstance(starts, list) or len(starts) != len(texts):
        raise DataError(f"{shown(str(raw))} does not have an answer_start for each text")
    return [
        _span({"start": start, "text": text}) for start, text in zip(starts, texts, strict=True)
    ]


def _span(raw: Mapping[str, Any]) -> Span:
    text, start = raw.get("text"), raw.get("start", raw.get("answer_start", UNKNOWN))
    if isinstance(start, float) and start.is_integer():
        start = int(start)
    is_whole = isinstance(start, int) and not isinstance(start, bool) and start >= UNKNOWN
    if not isinstance(text, str) or is_blank(text) or not is_whole:
        raise DataError(f"{shown(str(dict(raw)))} is not {EXPECTED}")
    return Span(start, text)
