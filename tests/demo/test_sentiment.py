import pytest

from umc_ray.demo.sentiment import SCHEMA, content, parse
from umc_ray.errors import DataError

TEXTS = (
    "id\tsentiment\ttext\r\n"
    "1_1\t1.5\t Works as it should. \r\n"
    "1_2\t0.5\tIt is a player.\r\n"
    "1_3\t-0.51\tNo picture, \x85 at all"
)
RATINGS = "\r\n1_1\t1.5\t0.5\t[2, 1, 2, 1]\r\n1_2\t0.5\t0.5\t[0, 1]\r\n1_3\t-0.51\t0.2\t[-1, 0, -4]"


def test_clear_texts_get_the_sign_of_their_mean_and_keep_the_order_of_ratings() -> None:
    assert parse(TEXTS, RATINGS, "amazon") == [
        {
            "key": "amazon-1_1",
            "text": "Works as it should.",
            "label": "positive",
            "ratings": [2, 1, 2, 1],
        },
        {
            "key": "amazon-1_3",
            "text": "No picture, \x85 at all",
            "label": "negative",
            "ratings": [-1, 0, -4],
        },
    ]


def test_rows_have_the_columns_of_the_schema() -> None:
    assert list(parse(TEXTS, RATINGS, "amazon")[0]) == SCHEMA.names


def test_a_text_without_ratings_is_an_error() -> None:
    with pytest.raises(DataError, match="amazon: text 1_2 has no line"):
        parse(TEXTS, RATINGS.replace("1_2", "1_9"), "amazon")


def test_a_line_that_lacks_a_field_is_an_error() -> None:
    with pytest.raises(DataError, match=r"tweets: expected 3 fields, found 2: .*'1_4'"):
        parse(TEXTS + "\r\n1_4\tno mean", RATINGS, "tweets")


def test_texts_that_differ_in_case_and_spacing_are_duplicates() -> None:
    assert content({"text": "So  LUCKY."}) == content({"text": "so lucky."})
    assert content({"text": "so lucky."}) != content({"text": "so lucky!"})
