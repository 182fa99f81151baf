"""How a text file with a table can be read: its encoding and its delimiter."""

import codecs


def encoding_problem(encoding: str) -> str | None:
    """Say why no text file can be read in an encoding; None if some can."""
    advice = "name an encoding such as cp1252 or utf-16-le"
    try:
        codecs.lookup(encoding)
    except (LookupError, ValueError):
        return f"unknown encoding: {encoding}; {advice}"
    try:
        "".encode(encoding)
        # Of files, each byte that cannot be decoded is kept; some encodings know no way to do so.
        codecs.getincrementaldecoder(encoding)("surrogateescape").decode(b"a")
    except (LookupError, ValueError):
        return f"{encoding!r} is not a text encoding; {advice}"
    return None


def delimiter_problem(delimiter: str) -> str | None:
    """Say why nothing can stand between fields that is called so; None if it can."""
    if len(delimiter) != 1 or delimiter in '"\r\n\0 ':
        return f"delimiter cannot be {delimiter!r}; name one such as ';'"
    return None
