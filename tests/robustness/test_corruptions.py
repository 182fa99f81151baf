"""What corruptions change, and what they leave."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from umc_ray.methods.text_pair import joined, parts_of
from umc_ray.robustness.corruptions import IMAGES, TEXTS, corrupted, truncated, typos, without_words

TEXT = "The quick brown fox jumps over the lazy dog, twice: 12 times a day. " * 3


@pytest.fixture(scope="module")
def photo():
    shades = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(shades).save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_changed_in_the_same_way_for_the_same_seed(name):
    once = corrupted(name, TEXT, 1)
    assert once == corrupted(name, TEXT, 1) != TEXT
    assert isinstance(once, str)
    assert corrupted(name, "ok", 1).strip()


@pytest.mark.parametrize("name", IMAGES)
def test_images_keep_their_size_and_change(name, photo):
    once = corrupted(name, photo, 1)
    assert once == corrupted(name, photo, 1)
    before, after = (np.asarray(Image.open(io.BytesIO(each)), float) for each in (photo, once))
    assert before.shape == after.shape
    assert np.abs(before - after).mean() > 1


def test_typos_are_as_many_as_asked_for_and_only_of_letters():
    rng = random.Random(0)
    text = "abcdefgh " * 500
    changed = typos(0.1)(text, rng)
    assert abs(len(changed) - len(text)) < 0.03 * len(text)  # drops and doubles cancel
    assert changed.count(" ") == text.count(" ")
    assert typos(0.0)(TEXT, rng) == TEXT
    assert typos(1.0)("12 34.", rng) == "12 34."


def test_words_are_cut_off_and_dropped():
    rng = random.Random(0)
    assert truncated(0.5)("a b c d", rng) == "a b"
    assert truncated(0.25)("a", rng) == "a"
    text = " ".join(map(str, range(1000)))
    kept = without_words(0.3)(text, rng).split()
    assert 650 < len(kept) < 750
    assert [int(word) for word in kept] == sorted(int(word) for word in kept)
    assert without_words(1.0)("a b", rng) == "a"


def test_slang_replaces_whole_words_in_any_case():
    said = "You are going  to love THE movie, because your weather is great. Breathe."
    expected = "Ur gonna luv Da flick, cuz ur weather is gr8. Breathe."
    assert corrupted("in slang, if English", said, 0) == expected
    assert corrupted("in slang, if English", "Das Wetter", 0) == "Das Wetter"


def test_both_texts_of_a_pair_are_corrupted():
    pair = ["one two three four", "five six seven eight"]
    found = parts_of(corrupted("first half", joined(pair), 0))
    assert found == ("one two", "five six")
