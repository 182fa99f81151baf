"""Corruptions that people see through: of texts and of images, each mild and strong.

Source: Hendrycks and Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations; Belinkov and Bisk 2018, Synthetic and Natural Noise Both Break Neural Machine
Translation.
"""

import io
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from PIL import Image

from umc_ray.diversity.generators.transforms import CHANGES, Change
from umc_ray.ingest.pixels import decode_rgb
from umc_ray.methods.text_pair import joined, parts_of

TextChange = Callable[[str, random.Random], str]


def typos(rate: float) -> TextChange:
    """Swap, drop or double letters; the rate is the share of letters that this begins at."""

    def change(text: str, rng: random.Random) -> str:
        letters, done, i = list(text), [], 0
        while i < len(letters):
            here, after = letters[i], letters[i + 1 : i + 2]
            i += 1
            if not here.isalpha() or rng.random() >= rate:
                done.append(here)
                continue
            how = rng.choice(("swap", "drop", "double"))
            if how == "swap" and after and after[0].isalpha():
                done += [after[0], here]
                i += 1
            elif how != "drop":
                done += [here, here]
        return "".join(done)

    return change


def truncated(share: float) -> TextChange:
    """Keep the first words, at least one."""

    def change(text: str, _: random.Random) -> str:
        words = text.split()
        return " ".join(words[: max(1, round(share * len(words)))])

    return change


def without_words(rate: float) -> TextChange:
    """Drop words at random, but for one."""

    def change(text: str, rng: random.Random) -> str:
        words = text.split()
        kept = [word for word in words if rng.random() >= rate]
        return " ".join(kept or words[:1])

    return change


def slang(text: str, _: random.Random) -> str:
    """Write English as in short messages; a text without such words stays as it is."""
    return _SPELLED_OUT.sub(_in_slang, text)


def _in_slang(found: re.Match[str]) -> str:
    word = SLANG[" ".join(found[0].casefold().split())]
    return word.capitalize() if found[0][0].isupper() else word


def jpeg(quality: int) -> Change:
    """Save as JPEG."""

    def change(image: Image.Image, _: int) -> Image.Image:
        sink = io.BytesIO()
        image.save(sink, "JPEG", quality=quality)
        return Image.open(sink).convert("RGB")

    return change


def resized(share: float) -> Change:
    """Scale down, and up again."""

    def change(image: Image.Image, _: int) -> Image.Image:
        small = (max(1, round(share * image.width)), max(1, round(share * image.height)))
        return image.resize(small).resize(image.size)

    return change


SLANG: Mapping[str, str] = MappingProxyType(
    {
        "because": "cuz",
        "before": "b4",
        "about": "abt",
        "and": "n",
        "are": "r",
        "for": "4",
        "give me": "gimme",
        "going to": "gonna",
        "great": "gr8",
        "have to": "hafta",
        "kind of": "kinda",
        "let me": "lemme",
        "love": "luv",
        "message": "msg",
        "movie": "flick",
        "okay": "ok",
        "people": "ppl",
        "please": "plz",
        "really": "rly",
        "see you": "cya",
        "thanks": "thx",
        "that": "dat",
        "the": "da",
        "tomorrow": "tmrw",
        "tonight": "2nite",
        "want to": "wanna",
        "with": "w",
        "you": "u",
        "your": "ur",
        "you are": "ur",
    }
)
"""What common English words become in short messages."""

_SPELLED_OUT = re.compile(
    r"\b(?:" + "|".join(sorted(SLANG, key=len, reverse=True)).replace(" ", r"\s+") + r")\b",
    re.IGNORECASE,
)

TEXTS: Mapping[str, TextChange] = MappingProxyType(
    {
        "typos, 3% of letters": typos(0.03),
        "typos, 10% of letters": typos(0.1),
        "in capitals": lambda text, _: text.upper(),
        "in small letters": lambda text, _: text.lower(),
        "in slang, if English": slang,
        "first half": truncated(0.5),
        "first quarter": truncated(0.25),
        "without 10% of words": without_words(0.1),
        "without 30% of words": without_words(0.3),
    }
)

IMAGES: Mapping[str, Change] = MappingProxyType(
    {
        **{f"noise, {name}": change for name, change in CHANGES["noise"].items()},
        **{f"blur, {name}": change for name, change in CHANGES["blur"].items()},
        **{f"contrast {name}": CHANGES["contrast"][name] for name in ("x 0.6", "x 0.3")},
        **{f"brightness {name}": CHANGES["brightness"][name] for name in ("x 0.5", "x 2")},
        "JPEG, quality 30": jpeg(30),
        "JPEG, quality 10": jpeg(10),
        "resized to 1/2": resized(1 / 2),
        "resized to 1/4": resized(1 / 4),
    }
)


def corrupted(name: str, payload: str | bytes, seed: int) -> str | bytes:
    """Corrupt a sample: each part of a text, or an image file, which becomes PNG."""
    if isinstance(payload, str):
        rng = random.Random(seed)
        return joined([TEXTS[name](part, rng) for part in parts_of(payload)])
    sink = io.BytesIO()
    IMAGES[name](decode_rgb(payload), seed).save(sink, "PNG")
    return sink.getvalue()
