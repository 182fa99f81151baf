"""Values that want to stop whoever reads them, and the places of a request where they can stand."""

import json
from dataclasses import dataclass
from typing import Literal

from umc_ray.labelstudio.form import form_xml
from umc_ray.tasks.forms import ChoiceForm

Fate = Literal["refused", "taken", "cut"]
"""Refused: a status of 4xx. Taken: 200. Cut: no whole request, so the server may just close."""

SECRET = "s3cret"
"""Appears in many requests and in no response."""

GOOD = '{"text": "good word1"}'

BROKEN = "broken"


def values(most_bytes: int) -> dict[str, tuple[bytes, str]]:
    """Return JSON, or what looks like it, with its kind; some of it nearly fills `most_bytes`."""
    many, deep = most_bytes // 2 - 500, most_bytes // 4 - 500
    keys = ",".join(f'"k{i}": 1' for i in range(10_000))
    return {
        "null": (b"null", "null"),
        "true": (b"true", "flag"),
        "zero": (b"0", "zero"),
        "minus one": (b"-1", "number"),
        "a half": (b"0.5", "fraction"),
        "a number of 300 digits": (b"9" * 300, "number"),
        "a number of 5000 digits": (b"9" * 5000, BROKEN),
        "infinity": (b"1e999", "number"),
        "minus infinity by name": (b"-Infinity", "number"),
        "NaN": (b"NaN", "number"),
        "an Arabic digit": ("\u0661".encode(), BROKEN),
        "a full-width digit": ("\uff11".encode(), BROKEN),
        "octal": (b"007", BROKEN),
        "hexadecimal": (b"0x1", BROKEN),
        "Python": (b"None", BROKEN),
        "a name": (f'"{SECRET}"'.encode(), "text"),
        "no text": (b'""', "blank"),
        "blanks": (b'" \\n\\u2003"', "blank"),
        "NUL": (f'"{SECRET}\\u0000"'.encode(), "control"),
        "a high surrogate": (b'"a\\ud800"', BROKEN),
        "a low surrogate": (b'"\\udfffa"', BROKEN),
        "a surrogate in UTF-8": (b'"\xed\xa0\x80"', BROKEN),
        "an overlong slash": (b'"..\xc0\xaf"', BROKEN),
        "a raw control character": (b'"a\x01"', BROKEN),
        "an open quote": (b'"', BROKEN),
        "a turned text": (b'"\\u202edoog"', "text"),
        "a long text": (b'"' + b"x" * 1001 + b'"', "long"),
        "a path": (b'"../../etc/passwd"', "text"),
        "an address": (b'"http://169.254.169.254/latest"', "text"),
        "an injection": (b'"${jndi:ldap://x/}{{7*7}}\'; DROP TABLE a --"', "text"),
        "zeros": (b"[" + b"0," * many + b"0]", "list"),
        "objects": (b"[" + b"{}," * (many // 2) + b"{}]", "list"),
        "no list": (b"[]", "empty list"),
        "deep lists": (b"[" * deep + b"]" * deep, BROKEN),
        "deep lists that stay open": (b"[" * deep, BROKEN),
        "deep objects": (b'{"a":' * (deep // 2) + b"1" + b"}" * (deep // 2), BROKEN),
        "a query": (f'{{"$ne": "{SECRET}"}}'.encode(), "object"),
        "a prototype": (b'{"__proto__": {"admin": true}}', "object of objects"),
        "a key that is no Unicode": (b'{"\\ud800": "a"}', BROKEN),
        "one key twice": (b'{"text": "good word1", "text": 7}', BROKEN),
        "many keys": (b"{" + keys.encode() + b"}", BROKEN),
    }


@dataclass(frozen=True)
class Place:
    """Where a value stands in the body of a request, and the kinds that may stand there."""

    path: str
    body: str
    takes: frozenset[str] = frozenset()

    def fate(self, kind: str) -> Fate:
        """Return what becomes of a request with a value of a kind in this place."""
        return "taken" if kind in self.takes else "refused"


def _place(path: str, body: str, *takes: str) -> Place:
    return Place(path, body, frozenset(takes))


TEXTS = ("text", "blank", "control")
ALL = ("null", "flag", "zero", "fraction", "number", *TEXTS, "long", "list", "empty list")
OBJECTS = ("object", "object of objects", "object of numbers")


def places(labels: tuple[str, ...]) -> dict[str, Place]:
    """Return where a value can stand in the requests for a task of texts with labels."""
    form = json.dumps(form_xml("text", ChoiceForm(labels)))
    in_sample = '{"samples": [{"text": "good word1", "%s": VALUE}]}'
    beside = f'{{"samples": [{GOOD}], "%s": VALUE}}'
    anything = (*ALL, *OBJECTS)
    predict = f'{{"label_config": {form}, "tasks": %s}}'
    return {
        "the body of score": _place("/v1/score", "VALUE"),
        "samples": _place("/v1/score", '{"samples": VALUE}'),
        "a sample": _place("/v1/score", '{"samples": [VALUE]}'),
        "one of two samples": _place("/v1/score", f'{{"samples": [{GOOD}, VALUE]}}'),
        "text": _place("/v1/score", '{"samples": [{"text": VALUE}]}', "text"),
        "a text of a pair": _place("/v1/score", '{"samples": [{"text": ["good", VALUE]}]}'),
        "image": _place("/v1/score", in_sample % "image", "null"),
        "image_url": _place("/v1/score", in_sample % "image_url", "null"),
        "reference": _place("/v1/score", in_sample % "reference", "null"),
        "id": _place("/v1/score", in_sample % "id", "null", *TEXTS),
        "group": _place("/v1/score", in_sample % "group", "null"),
        "a group": _place("/v1/score", '{"samples": [{"text": "a", "group": {"sex": VALUE}}]}'),
        "task": _place("/v1/score", beside % "task", "null"),
        "domain": _place("/v1/score", beside % "domain", "null"),
        "specialists": _place("/v1/score", beside % "specialists", "flag"),
        "columns": _place("/v1/score", beside % "columns", "flag"),
        "neighbors": _place("/v1/score", beside % "neighbors", "zero"),
        "an unknown key": _place("/v1/score", beside % SECRET),
        "samples to embed": _place("/v1/embed", '{"samples": VALUE}'),
        "a text to embed": _place("/v1/embed", '{"samples": [{"text": VALUE}]}', "text"),
        "task of embed": _place("/v1/embed", beside % "task", "null"),
        "items": _place("/predict", predict % "VALUE", "empty list"),
        "an item": _place("/predict", predict % "[VALUE]", *anything),
        "data": _place("/predict", predict % '[{"data": VALUE}]', *anything),
        "a text of an item": _place("/predict", predict % '[{"data": {"text": VALUE}}]', *anything),
        "a form": _place("/predict", '{"label_config": VALUE, "tasks": []}'),
        "a project": _place("/webhook", '{"project": VALUE}', "zero", "fraction"),
        "an action": _place("/webhook", '{"project": 1, "action": VALUE}', *anything),
    }
