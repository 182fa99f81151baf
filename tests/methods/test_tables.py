"""Suffixes: N rows, D numbers of a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray.errors import DataError
from umc_ray.methods.tables import CLIP, CategoryColumn, NumberColumn, fit_table


def column(values, name="c"):
    return [{name: str(value)} for value in values]


def only(fit):
    (found,) = fit.columns
    return found


def test_numbers_are_standardized_by_the_pool_and_outliers_clipped():
    values = np.random.default_rng(0).normal(50, 10, 2000)
    fit = fit_table(column(values))
    found = only(fit)
    assert (found.kind, found.flags_missing) == ("number", False)
    assert found.center == pytest.approx(50, abs=1)
    assert found.scale == pytest.approx(10, abs=0.5)
    encoded_ND = fit.encode(column([found.center, found.center + found.scale, 1e300, -1e300]))
    assert encoded_ND[:, 0].tolist() == [0, pytest.approx(1), CLIP, -CLIP]


def test_ramps_are_the_share_of_the_way_between_two_edges():
    found = NumberColumn("c", "number", 0.0, 1.0, (0.0, 2.0, 10.0), False)
    encoded_ND = found.encode(["-5", "1", "2", "6", "11"])
    assert encoded_ND[:, 1:].tolist() == [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1]]


def test_a_column_of_zeros_and_few_amounts_has_ramps_over_the_amounts():
    amounts = np.random.default_rng(0).uniform(1000, 9000, 80).round()
    found = only(fit_table(column([0] * 920 + amounts.tolist())))
    assert found.edges[0] == 0
    assert len(found.edges) > 6
    assert np.diff(found.edges).max() < 2500


def test_categories_are_one_hot_and_rare_ones_are_one():
    values = ["a"] * 50 + ["b"] * 30 + ["x1", "x2"]
    fit = fit_table(column(values))
    assert only(fit) == CategoryColumn("c", ("a", "b"), has_rare=True, flags_missing=False)
    assert fit.encode(column(["a", "b", "x1", "new"])).tolist() == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [0, 0, 1],
    ]


def test_a_missing_value_is_the_median_with_a_flag_or_a_category_of_its_own():
    rows = [
        {"n": n, "c": c} for n, c in zip(["1", "2", "3", "?"], ["a", "a", "b", ""], strict=True)
    ]
    fit = fit_table(rows * 10)
    n, c = fit.columns
    encoded_ND = fit.encode([{"n": "NA", "c": "a"}, {"c": "b"}, {"n": "2"}])
    assert encoded_ND[:, n.width - 1].tolist() == [1, 1, 0]
    assert (encoded_ND[0, : n.width - 1] == encoded_ND[2, : n.width - 1]).all()
    assert encoded_ND[:, n.width :].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert c.categories == ("a", "b")


def test_a_typing_error_does_not_make_numbers_categories():
    found = only(fit_table(column([*range(99), "3O"])))
    assert found.kind == "number"
    assert found.flags_missing
    mixed = only(fit_table(column([*(["1", "2", "x"] * 9)])))
    assert isinstance(mixed, CategoryColumn)


def test_dates_are_days():
    days = [f"2024-01-{day:02d}" for day in range(1, 31)]
    fit = fit_table(column([*days, "2024-01-30 12:00:00", "2024-01-31T00:00:00+00:00"]))
    assert only(fit).kind == "date"
    first, second = fit.encode(column(["2024-01-10", "2024-01-11"]))[:, 0]
    assert second - first == pytest.approx(1 / only(fit).scale, rel=1e-4)


def test_what_is_the_same_in_all_rows_is_left_out():
    rows = [{"a": "1", "b": str(i), "c": "same", "d": ""} for i in range(9)]
    assert [each.name for each in fit_table(rows).columns] == ["b"]
    with pytest.raises(DataError, match="tells the 9 samples apart; columns found: a, c"):
        fit_table([{"a": "1", "c": "same"}] * 9)
    with pytest.raises(DataError, match="columns found: none"):
        fit_table([{}, {}])


def test_no_value_of_a_single_row_is_stored_as_a_category():
    rows = [{"name": f"person {i}", "team": f"t{i % 2}"} for i in range(20)]
    name, team = (None, *fit_table(rows).columns)
    assert name is None
    assert team.categories == ("t0", "t1")


def test_numbers_of_any_size_are_encoded():
    fit = fit_table(column(["1e308", "-1e308", "5e-324", "0", "1e-300", "2e-300"]))
    encoded_ND = fit.encode(column(["1e308", "-1e308", "3e-300", "nan", "inf"]))
    assert np.isfinite(encoded_ND).all()


values = st.one_of(
    st.text(max_size=4),
    st.floats().map(repr),
    st.integers(-5, 5).map(str),
    st.dates().map(str),
    st.sampled_from(["", "NA", "a", "b"]),
)
rows = st.lists(st.fixed_dictionaries({"x": values, "y": values}), min_size=1, max_size=30)


@given(pool=rows, new=rows)
def test_any_row_has_a_bounded_embedding_that_does_not_depend_on_the_others(pool, new):
    try:
        fit = fit_table(pool)
    except DataError:
        return
    whole_ND = fit.encode(new)
    assert whole_ND.shape == (len(new), sum(each.width for each in fit.columns))
    assert np.isfinite(whole_ND).all()
    assert np.abs(whole_ND).max() <= CLIP
    for row, encoded_D in zip(new, whole_ND, strict=True):
        np.testing.assert_array_equal(fit.encode([row])[0], encoded_D)


@given(st.lists(st.floats(-1e12, 1e12), min_size=5, max_size=60, unique=True))
def test_a_larger_number_has_no_smaller_coordinate(numbers):
    fit = fit_table(column([repr(number) for number in numbers]))
    encoded_ND = fit.encode(column([repr(number) for number in sorted(numbers)]))
    assert (np.diff(encoded_ND, axis=0) >= 0).all()
