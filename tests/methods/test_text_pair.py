import pytest

from umc_ray.methods.text_pair import headed, joined, parts_of, plain, readable, shortened


@pytest.mark.parametrize("parts", [("one",), ("is it?", "it is,\nand was"), ("a | b", "c\u2029d")])
def test_texts_come_apart_as_they_were_joined(parts):
    text = joined(parts)
    assert parts_of(text) == parts
    assert plain(text) == (list(parts) if len(parts) > 1 else parts[0])
    assert "\0" not in readable(text)
    assert parts_of(shortened(text, 3)) == tuple(part[:3] for part in parts)


def test_only_the_parts_of_a_pair_have_headings():
    assert headed(joined(["a", "b"]), ("question", "answer")) == [
        ("question", "a"),
        ("answer", "b"),
    ]
    assert headed("a", ("question", "answer")) == [("", "a")]
    assert headed("a", ()) == [("", "a")]
