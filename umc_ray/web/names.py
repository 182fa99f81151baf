"""Names of accounts: what they may contain, and which of them look alike."""

import re
import unicodedata
from collections.abc import Iterable

from umc_ray.errors import StoreError

NAME = re.compile(r"[^\W_][\w.@ -]{0,63}")

LOOKALIKES = str.maketrans(
    {
        **dict(zip("авекмнорстухѕԁԛԝһ", "abekmhopctyxsdqwh", strict=True)),  # Cyrillic
        **dict(zip("αβεκνορτυχ", "abekvoptux", strict=True)),  # Greek
        **dict.fromkeys("iıіι1ӏ", "l"),
        **dict.fromkeys("_-", " "),
        "0": "o",
    }
)
"""From lowercase letters and digits to what they are easily taken for.

Source: the commonest entries of Unicode Technical Standard 39, confusables.txt.
"""


def is_name(name: str) -> bool:
    """Return whether a name may be that of an account."""
    return NAME.fullmatch(name) is not None and name == name.strip()


def check_name(name: str) -> None:
    """Refuse what is no name, and letters of several alphabets in one word.

    Raises:
        StoreError: it is not valid.
    """
    if not is_name(name):
        raise StoreError(
            f"{name!r} is not a valid name: use up to 64 letters, digits, spaces and . @ - _, "
            "starting with a letter or digit"
        )
    for word in name.split():
        alphabets = {
            unicodedata.name(letter, "?").split()[0] for letter in word if letter.isalpha()
        }
        if len(alphabets) > 1 and alphabets & {"LATIN", "CYRILLIC", "GREEK"}:
            raise StoreError(
                f"{name!r} mixes letters of several alphabets in a word: "
                f"{', '.join(sorted(alphabets)).lower()}"
            )


def check_distinct(name: str, others: Iterable[str]) -> None:
    """Refuse a name that is taken for another one: people would be mistaken for each other.

    Raises:
        StoreError: another account has it, or one that looks like it.
    """
    for other in others:
        if other == name:
            raise StoreError(f"account {name} already exists")
        if appearance(other) == appearance(name):
            raise StoreError(f"{name} looks like the account {other}: choose another name")


def appearance(name: str) -> str:
    """Return what a name looks like: equal for names that are easily confused."""
    plain = unicodedata.normalize("NFKC", name).casefold().translate(LOOKALIKES)
    return " ".join(plain.split())
