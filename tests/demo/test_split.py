from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from umc_ray.demo.split import Row, drop_duplicates, hold_out


def rows_of(labels: list[str]) -> list[Row]:
    return [{"key": f"row-{number}", "label": label} for number, label in enumerate(labels)]


@given(st.lists(st.sampled_from("abc")), st.floats(0, 1), st.integers(0, 40))
def test_every_row_is_in_one_part_and_each_label_gives_its_share(
    labels: list[str], share: float, most: int
) -> None:
    rows = rows_of(labels)
    pool, test = hold_out(rows, share, most)
    assert sorted(row["key"] for row in pool + test) == sorted(row["key"] for row in rows)
    assert len(test) <= most
    effective = min(share, most / len(rows)) if rows else share
    held = Counter(row["label"] for row in test)
    for label, count in Counter(labels).items():
        assert held[label] == int(effective * count)


def test_the_split_depends_on_keys_and_not_on_the_order_of_rows() -> None:
    rows = rows_of(["a"] * 40 + ["b"] * 20)
    _, test = hold_out(rows, 0.25, 1000)
    _, of_reversed = hold_out(rows[::-1], 0.25, 1000)
    assert of_reversed == test[::-1]
    assert Counter(row["label"] for row in test) == {"a": 10, "b": 5}


def test_which_rows_are_held_out_never_changes() -> None:
    _, test = hold_out(rows_of(["a"] * 12), 0.25, 1000)
    # By `printf row-4 | sha256sum` and so on: 06a2..., 0f71..., 14e9... are the smallest.
    assert {row["key"] for row in test} == {"row-4", "row-1", "row-10"}


def test_the_first_of_equal_rows_stays() -> None:
    rows = [{"key": "1", "text": "Good"}, {"key": "2", "text": "bad"}, {"key": "3", "text": "good"}]
    kept = drop_duplicates(rows, lambda row: row["text"].lower())
    assert [row["key"] for row in kept] == ["1", "2"]
