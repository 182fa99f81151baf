import pytest

from umc_ray.methods.unicode_text import comparable, escaped, is_blank, without_invisible


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("a", " \u00a0a\n"),
        ("a\nb", "a\r\nb"),
        ("a\nb", "a\rb"),
        ("\ud55c", "\u1112\u1161\u11ab"),
    ],
)
def test_texts_that_differ_in_form_only_are_comparable(one, other):
    assert one != other
    assert comparable(one) == comparable(other) == one


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("a b", "a  b"), ("ﬁ", "fi"), ("1", "1.0")])
def test_texts_that_differ_in_what_they_say_are_not_comparable(one, other):
    assert comparable(one) != comparable(other)


@pytest.mark.parametrize(
    "text",
    ["", " \t\r\n", "\u200b\u200d\ufeff", "\u00a0\u3000", "\u2800\u3164", "\0\x1b", "\u00ad\ufe0f"],
)
def test_a_text_without_a_visible_character_is_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize(
    "text", ["a", " . ", "\u200ba", "0", "\u0301", "猫", "\U0001f600", "\ue000"]
)
def test_a_text_with_a_visible_character_is_not_blank(text):
    assert not is_blank(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("  two \t\u00a0 words ", "two words"),
        ("soft\u00adhyphen", "softhyphen"),
        ("\ufeffcafe\u200b\u0301", "caf\u00e9"),
    ],
)
def test_what_one_cannot_see_is_left_out(text, found):
    assert without_invisible(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain ä 猫", "plain ä 猫"),
        ("a\u00a0b\u200b", r"a\u00a0b\u200b"),
        ("cafe\u0301", r"cafe\u0301"),
        ("\u212b", r"\u212b"),
        ("a\nb\tc\r\0", r"a\nb\tc\r\u0000"),
        ("\udcff", r"\udcff"),
        ("\U000e0001", r"\U000e0001"),
        ("\u0939\u093f", "\u0939\u093f"),  # Hindi: its marks have no composed form
    ],
)
def test_messages_escape_what_one_cannot_see_or_tell_apart(text, found):
    assert escaped(text) == found
    assert escaped(text).encode()
