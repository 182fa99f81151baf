"""What a text must be like to be a sample, a key or a name in a table."""

from umc_ray.ingest.sources import BadRow
from umc_ray.ingest.text_files import lost_byte
from umc_ray.methods.text_pair import joined, parts_of
from umc_ray.methods.unicode_text import comparable, is_blank
from umc_ray.tasks.spelling import shown

TEXT = "text"
"""What the only text of a sample is called; those of a pair have the names of their columns."""


def same_text(text: str) -> bytes:
    """Return what equal texts, or pairs of equal texts, have in common."""
    return joined([comparable(part) for part in parts_of(text)]).encode()


def checked(text: object, what: str, max_chars: int, encoding: str | None) -> str:
    """Return the text of a sample, or one of a pair.

    Raises:
        BadRow: it is none, has nothing to see, is too long, or cannot be stored.
    """
    if not isinstance(text, str):
        raise BadRow("wrong type", f"{what} is {type(text).__name__}")
    if is_blank(text):
        seen = f"only invisible characters: {shown(text)}" if text.strip() else ""
        raise BadRow("blank text", seen if what == TEXT else f"{what} {seen}".strip())
    if len(text) > max_chars:
        raise BadRow("text too long", f"{len(text)} characters")
    return clean(text, what, encoding)


def clean(text: str, what: str, encoding: str | None) -> str:
    """Return a text that can be stored.

    Raises:
        BadRow: it has a NUL, which also stands between the texts of a pair, or no Unicode form.
    """
    if "\0" in text:
        raise BadRow("NUL character", f"at character {text.index(chr(0)) + 1} of the {what}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise undecoded(text, what, encoding) from error
    return text


def undecoded(text: str, what: str, encoding: str | None) -> BadRow:
    """Say which byte does not fit the encoding of a file, or which character is none."""
    kind, lost = f"not {encoding or 'UTF-8'}", lost_byte(text)
    if lost is None:
        return BadRow(kind, f"{what} with half a surrogate pair: {shown(text)}")
    byte, index = lost
    advice = "" if encoding else "; if the file has another encoding, name it: encoding: cp1252"
    return BadRow(kind, f"byte 0x{byte:02X} at character {index + 1} of the {what}{advice}")
