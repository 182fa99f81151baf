"""What the person who gives an answer may be called, where names come from outside."""

import unicodedata

from umc_ray.errors import DataError
from umc_ray.tasks.spelling import shown

MAX_CHARS = 64
"""As of an account, whose name has fewer kinds of characters: others have named these people."""

_NOT_IN_A_LINE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories: control characters, halves of characters, line and paragraph separators."""


def check_annotator(name: str) -> str:
    """Return a name.

    Raises:
        DataError: it is empty, longer than an account's, or no line of text.
    """
    is_line = not any(unicodedata.category(char) in _NOT_IN_A_LINE for char in name)
    if not 0 < len(name) <= MAX_CHARS or not is_line:
        raise DataError(f"annotator {shown(name)} must be one line of 1 to {MAX_CHARS} characters")
    return name
