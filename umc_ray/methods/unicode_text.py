"""Compare and print texts that look alike: Unicode forms, invisible characters, blanks.

Stored texts stay as they came in. These forms are for comparisons and messages only.
"""

import unicodedata

_CONTROLS = ("Cc", "Cf", "Zl", "Zp", "Zs")
_BLANKS = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")
"""Fillers and the empty Braille cell: they print nothing, and Unicode calls them visible."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def comparable(text: str) -> str:
    """Return what equal texts have in common: NFC, line feeds, no white space at the ends."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character."""
    first = text[:1]
    if first.isascii() and first.isalnum():  # as most texts begin, and each row is asked
        return False
    return all(_is_invisible(char) for char in text)


def has_half_characters(text: str) -> bool:
    """Return whether a text has half of a surrogate pair, which UTF-8 does not have."""
    return not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text)


def without_invisible(text: str) -> str:
    """Return a text in NFC, without format characters, its runs of white space single spaces."""
    if not text.isascii():
        visible = (char for char in text if unicodedata.category(char) != "Cf")
        text = unicodedata.normalize("NFC", "".join(visible))
    return " ".join(text.split())


def escaped(text: str) -> str:
    """Return a text for messages: what one cannot see, or what only looks composed, as escapes."""
    composed = unicodedata.is_normalized("NFC", text)
    return "".join(_escaped_char(char, composed) for char in text)


def _is_invisible(char: str) -> bool:
    is_selector = "\ufe00" <= char <= "\ufe0f"  # changes the look of the character before it
    return (
        char.isspace() or char in _BLANKS or is_selector or unicodedata.category(char) in _CONTROLS
    )


def _escaped_char(char: str, composed: bool) -> str:
    if char.isprintable() and char not in _BLANKS:
        is_apart = not composed and (unicodedata.combining(char) or char != _nfc(char))
        return _code(char) if is_apart else char
    return _SHORT.get(char) or _code(char)


def _nfc(char: str) -> str:
    return unicodedata.normalize("NFC", char)


def _code(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
