"""Two texts as one, such as a question and a sentence.

A sample of a pair is one text as any other, so that what stores, counts, compares or sends texts
need not know of pairs. A NUL stands between the two: no other text has one (ingest/validate.py).
What reads or shows the parts takes them apart here.
"""

from collections.abc import Sequence

BETWEEN = "\0"


def joined(parts: Sequence[str]) -> str:
    """Return one text that stands for some, usually two; a single text is itself."""
    return BETWEEN.join(parts)


def parts_of(text: str) -> tuple[str, ...]:
    """Return both texts of a pair, or the text itself."""
    return tuple(text.split(BETWEEN))


def plain(text: str) -> str | list[str]:
    """Return a text as JSON has it: a pair is a list."""
    parts = parts_of(text)
    return text if len(parts) == 1 else list(parts)


def readable(text: str) -> str:
    """Return a text for people, where there is no room for headings: parts are paragraphs."""
    return text.replace(BETWEEN, "\n\n")


def shortened(text: str, size: int) -> str:
    """Cut each part of a text to a number of characters."""
    return joined([part[:size] for part in parts_of(text)])


def headed(text: str, headings: Sequence[str]) -> list[tuple[str, str]]:
    """Return the parts of a text, each with its heading; a text that is no pair has none."""
    parts = parts_of(text)
    names = headings if len(headings) == len(parts) else [""] * len(parts)
    return list(zip(names, parts, strict=True))
