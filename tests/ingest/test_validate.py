import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from umc_ray.ingest.answers import LISTED, MOVED, UNKNOWN_LABEL
from umc_ray.ingest.image_check import check_image
from umc_ray.ingest.sources import BadRow
from umc_ray.ingest.validate import IN_COLOR, Found, Rejected, Row, Rules, check
from umc_ray.methods.identity import content_hash
from umc_ray.methods.text_pair import parts_of
from umc_ray.records import DomainKey
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.extractive_qa import ExtractiveQA
from umc_ray.tasks.generation import Generation
from umc_ray.tasks.multi_label import MultiLabel

PIXELS = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)


def rules(**changes):
    values = {
        "domain_key": DomainKey("task", "domain"),
        "split": "pool",
        "text": "body",
        "image": None,
        "key": "id",
        "label": "y",
        "ratings": "votes",
        "kind": Classification(("no", "yes", "1", "true")),
        "knows_answers": True,
        "max_image_pixels": 108,
        "max_text_chars": 10,
        "are_images": False,
    }
    return Rules(**{**values, **changes})


def outcome(values, **changes):
    """The row, or the reason why it is none."""
    found = check(rules(**changes), Found("/data/table.csv", "3", "table.csv#3", values))
    return str(found.reason) if isinstance(found, Rejected) else found


def test_a_good_row_keeps_everything():
    values = {"body": "good", "id": 7, "y": "yes", "votes": [1, -1], "other": object()}
    assert outcome(values) == Row(
        "/data/table.csv", "3", "7", "good", None, "yes", [1, -1], content_hash(b"good")
    )
    assert outcome(values, key=None).key == "table.csv#3"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "missing text: no 'body' among body, id"),
        (3, "wrong type: text is int"),
        (b"x", "wrong type: text is bytes"),
        (" \t\n ", "blank text"),
        ("\u200b\ufeff\u00a0", r"blank text: only invisible characters: '\u200b\ufeff\u00a0'"),
        ("", "blank text"),
        ("x" * 11, "text too long: 11 characters"),
        ("a\0b", "NUL character: at character 2 of the text"),
        (
            "ab\udcff",
            "not UTF-8: byte 0xFF at character 3 of the text; if the file has another encoding, "
            "name it: encoding: cp1252",
        ),
        ("ab\ud83d", r"not UTF-8: text with half a surrogate pair: 'ab\ud83d'"),
    ],
)
def test_a_text_must_be_text(body, reason):
    assert outcome({"body": body, "id": "k"}) == reason


def test_the_longest_text_allowed_is_allowed():
    assert outcome({"body": "é" * 10, "id": "k"}).text == "é" * 10


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "missing key"),
        ("", "missing key"),
        (1.5, "wrong type: key is float"),
        (True, "wrong type: key is bool"),
        (
            "\udcff",
            "not UTF-8: byte 0xFF at character 1 of the key; if the file has another encoding, "
            "name it: encoding: cp1252",
        ),
    ],
)
def test_a_key_must_name_the_row(key, reason):
    assert outcome({"body": "x", "id": key}) == reason


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("no", "no"),
        ("yes", "yes"),
        (1, "1"),
        (1.0, "1"),
        (True, "true"),
        (None, None),
        ("", None),
        (float("nan"), None),
        (" \u200b", None),
        (" YES", "yes"),
        ("True", "true"),
    ],
)
def test_labels_are_found_however_a_table_stores_them(value, label):
    assert outcome({"body": "x", "id": "k", "y": value}).label == label


def test_an_unknown_label_matters_only_where_it_is_read():
    values = {"body": "x", "id": "k", "y": "maybe"}
    reason = "unknown label: label 'maybe' is not one of no, yes, 1, true"
    assert outcome(values) == reason
    assert outcome(values, split="test", knows_answers=False) == reason
    found = outcome(values, knows_answers=False)
    assert (found.label, found.notes) == (None, (UNKNOWN_LABEL,))


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (["c", "a"], "a | c"),
        (["b"], "b"),
        ("c|a", "a | c"),
        ([], "(none)"),
        ("(none)", "(none)"),
        (" (NONE)", "(none)"),
        ("C | A", "a | c"),
        (None, None),
        ("", None),
        (float("nan"), None),
    ],
)
def test_several_labels_are_found_as_a_list_or_as_text(value, label):
    values = {"body": "x", "id": "k", "y": value}
    assert outcome(values, kind=MultiLabel(("a", "b", "c"))).label == label


def test_one_unknown_label_of_several_makes_a_bad_row():
    values = {"body": "x", "id": "k", "y": ["a", "z"]}
    reason = "unknown label: label 'z' is not one of a, b"
    assert outcome(values, kind=MultiLabel(("a", "b"))) == reason
    assert outcome(values, kind=MultiLabel(("a", "b")), knows_answers=False).label is None


def test_a_test_row_needs_a_label():
    assert outcome({"body": "x", "id": "k"}, split="test") == "missing label"


@pytest.mark.parametrize("votes", ["[1, 2]", [1.5], [True], [128], {"a": 1}])
def test_ratings_must_be_small_whole_numbers_where_they_are_read(votes):
    values = {"body": "x", "id": "k", "votes": votes}
    assert outcome(values).startswith("wrong type: ratings are not a list of small whole numbers")
    assert outcome(values, knows_answers=False).ratings is None


def encoded(kind, pixels=PIXELS, **options):
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def test_an_image_of_one_color_shows_nothing():
    gray = np.full((9, 12), 128, np.uint8)
    deep = np.full((9, 12), 1000, np.uint16)
    clear = np.zeros((9, 12, 4), np.uint8)
    for pixels, color in ((gray, 128), (deep, 62), (clear, 255)):
        found = outcome({"picture": encoded("PNG", pixels), "id": "k"}, text=None, image="picture")
        assert found == f"nothing to see: every pixel is rgb({color}, {color}, {color})"


def test_a_row_tells_how_its_image_was_read():
    deep = {"picture": encoded("TIFF", PIXELS[:, :, 0].astype(np.uint16)), "id": "k"}
    image_rules = {"text": None, "image": "picture"}
    (note,) = outcome(deep, **image_rules).notes
    assert note == "8-bit integers: 0..255 scaled to 0..255"
    color = {"picture": encoded("PNG"), "id": "k"}
    assert outcome(color, **image_rules).notes == ()
    assert outcome(color, **image_rules, sees_gray=True).notes == (IN_COLOR,)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_an_image_is_kept_as_it_is_and_refused_when_it_is_cut_off(kind):
    data = encoded(kind)
    image_rules = {"text": None, "image": "picture"}
    assert outcome({"picture": data, "id": "k"}, **image_rules).image == data
    reason = outcome({"picture": data[: len(data) // 2], "id": "k"}, **image_rules)
    assert reason.startswith("undecodable image: ")


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (None, "missing image"),
        (b"", "missing image"),
        ({"bytes": None, "path": None}, "missing image"),
        (b"GIF89a", "undecodable image: "),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "undecodable image: none of PNG, JPEG, WEBP, BMP, GIF, TIFF"),
        ([1, 2], "wrong type: image is list"),
        ("gone.png", "unreadable image: "),
        ("http://host/1.png", "unsupported address: http://host/1.png"),
    ],
)
def test_an_image_must_be_an_image(picture, reason):
    found = outcome({"picture": picture, "id": "k"}, text=None, image="picture")
    assert found.startswith(reason)


def test_an_image_may_be_bytes_or_a_path_or_both_as_hugging_face_stores_it(tmp_path):
    data = encoded("PNG")
    (tmp_path / "1.png").write_bytes(data)
    image_rules = rules(text=None, image="picture", key=None)
    forms = [data, "1.png", f"{tmp_path}/1.png", {"bytes": data, "path": "gone.png"}]
    for picture in [*forms, {"bytes": None, "path": "1.png"}]:
        found = Found(f"{tmp_path}/table.csv", "1", "table.csv#1", {"picture": picture})
        assert check(image_rules, found).image == data


def png_header(width, height):
    """A PNG that says how large it is and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def test_an_image_is_too_large_by_its_header_before_anything_is_unpacked():
    check_image(encoded("PNG"), max_pixels=108)
    with pytest.raises(BadRow, match="image too large: 12 x 9 pixels"):
        check_image(encoded("PNG"), max_pixels=107)
    for side in (8_000, 10_000, 100_000):  # fine, a warning and an error to Pillow
        with pytest.raises(BadRow, match="image too large"):
            check_image(png_header(side, side), max_pixels=50_000_000)


def test_a_small_file_that_unpacks_to_a_large_image_is_refused():
    bomb = encoded("PNG", np.zeros((4000, 4000), dtype=np.uint8))
    assert len(bomb) < 100_000
    with pytest.raises(BadRow, match="image too large: 4000 x 4000 pixels"):
        check_image(bomb, max_pixels=4000 * 4000 - 1)


def test_a_rejected_row_says_where_and_why():
    reason = BadRow("blank text")
    assert str(Rejected("/data/a.csv", "3", reason)) == "/data/a.csv row 3: blank text"
    assert str(Rejected("/data/a.png", "", reason)) == "/data/a.png: blank text"


@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        ({}, ("body", "id", "y", "votes")),
        ({"knows_answers": False}, ("body", "id", "y")),  # a named column is there
        ({"knows_answers": False, "label": None}, ("body", "id")),
        ({"knows_answers": False, "has_test": True}, ("body", "id")),  # it may be the test's
        ({"knows_answers": False, "has_test": True, "split": "test"}, ("body", "id", "y", "votes")),
    ],
)
def test_the_columns_that_a_table_must_have(changes, columns):
    assert rules(**changes).table.columns == columns
    assert set(rules(**changes).table.optional) <= {"y", "votes"}


PAIR = {"text": ("question", "answer")}


def test_a_pair_is_both_texts_and_equal_ones_are_the_same_sample():
    found = outcome({"question": "Cafe\u0301?", "answer": "good", "id": 7, "y": "yes"}, **PAIR)
    assert parts_of(found.text) == ("Cafe\u0301?", "good")
    same = outcome({"question": " Caf\u00e9?", "answer": "good\r\n", "id": 8, "y": "yes"}, **PAIR)
    moved = outcome({"question": "Caf\u00e9?g", "answer": "ood", "id": 9, "y": "yes"}, **PAIR)
    assert found.content == same.content != moved.content
    assert set(PAIR["text"]) <= set(rules(**PAIR).table.columns)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (None, "missing text: no 'answer' among question, answer, id, y"),
        (3, "wrong type: answer is int"),
        (" ", "blank text: answer"),
        ("x" * 11, "text too long: 11 characters"),
        ("a\0b", "NUL character: at character 2 of the answer"),
    ],
)
def test_a_pair_needs_both_texts(part, reason):
    values = {"question": "is it?", "answer": part, "id": 7, "y": "yes"}
    assert outcome(values, **PAIR) == reason


@pytest.mark.parametrize(
    ("start", "label", "notes"),
    [
        (3, 3, ()),
        (2, 3, (MOVED,)),  # off by one
        (16, 14, (MOVED,)),
    ],
)
def test_a_known_answer_stands_where_its_text_does(start, label, notes):
    answers = {"text": ["Rome"], "answer_start": [start]}
    values = {"q": "Where?", "c": "in Rome, near Rome", "id": 1, "y": answers}
    asked = {"text": ("q", "c"), "kind": ExtractiveQA(), "ratings": None, "max_text_chars": 99}
    found = outcome(values, **asked)
    assert found.label == f'{{"start": {label}, "text": "Rome"}}'
    assert found.notes == notes
    far = {**values, "y": {"text": ["Rome"], "answer_start": [99]}}
    assert outcome(far, **asked) == (
        "unusable answer: answer 'Rome' is not at 99 of the text, but at 3, 14"
    )
    elsewhere = {**values, "y": {"text": ["Bern"], "answer_start": [3]}}
    assert outcome(elsewhere, **asked) == "unusable answer: answer 'Bern' is not in the text"
    none = {**values, "y": {"text": [], "answer_start": []}}
    assert (outcome(none, **asked).label, outcome(none, **asked).notes) == ("(no answer)", ())


@pytest.mark.parametrize(
    ("cell", "label", "notes"),
    [
        (["one", "two"], '{"references": ["one", "two"]}', ()),
        ('{"references":["one","two"]}', '{"references": ["one", "two"]}', ()),  # as pandas writes
        ('["one", "two"]', '["one", "two"]', (LISTED,)),
        ("[sic] one", "[sic] one", ()),
    ],
)
def test_several_right_texts_are_a_list_or_say_so(cell, label, notes):
    values = {"q": "a text", "id": 1, "y": cell}
    found = outcome(values, text="q", kind=Generation(), ratings=None)
    assert (found.label, found.notes) == (label, notes)


def test_a_bad_answer_of_a_kind_without_labels_is_no_unknown_label():
    values = {"q": "a text", "id": 1, "y": "x" * 50_000}
    found = outcome(values, text="q", kind=Generation(), ratings=None)
    assert str(found).startswith("unusable answer: ")


@pytest.mark.parametrize(
    "cell",
    [
        ["a\ud800"],
        "a\ud800",
        '{"references": ["a\\ud800"]}',
        f'{{"references": [{"9" * 5000}]}}',
        '{"references": ' + "[" * 5000,
        '{"references": "one"}',
        '{"References": ["one", "two"]}',
        '{"references": ["one"], "extra": 1}',
        '{"references": ["one"], "references": ["two"]}',
        '{"references": []}',
    ],
)
def test_what_cannot_be_read_as_right_texts_is_one_bad_row(cell):
    found = outcome({"q": "a text", "id": 1, "y": cell}, text="q", kind=Generation(), ratings=None)
    assert str(found).startswith("unusable answer: ")
