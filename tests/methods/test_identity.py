import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from umc_ray.methods.identity import (
    UNKNOWN,
    _mix,
    content_hash,
    deduplicate,
    sample_ids,
    uniform,
)

NONE = np.empty((0, 2), dtype=np.uint64)


def ids(count):
    return sample_ids("task", "domain", "pool", [f"file.csv#{row}" for row in range(count)])


def test_ids_never_change_between_versions():
    assert sample_ids("sentiment", "amazon", "pool", ["a.csv#1", "é"]).tolist() == [
        1524572110444343813,
        7726803403971794926,
    ]


def test_ids_depend_on_every_name_and_are_not_negative():
    keys = ["a", "b", "a\0b"]
    names = [("t", "d", "pool"), ("t", "d", "test"), ("t", "e", "pool"), ("u", "d", "pool")]
    ids_N = np.concatenate([sample_ids(*name, keys) for name in names])
    assert ids_N.dtype == np.int64
    assert len(np.unique(ids_N)) == 12
    assert (ids_N >= 0).all()


def test_no_keys_give_no_ids():
    assert sample_ids("t", "d", "pool", []).shape == (0,)


def test_different_contents_have_different_hashes():
    assert content_hash(b"a") == content_hash(b"a") != content_hash(b"b")
    assert len(content_hash(b"")) == 16


def test_mixing_gives_the_published_outputs_of_splitmix64():
    # Vigna 2015, splitmix64.c: the first outputs of the generator with seed 0
    step = np.uint64(0x9E3779B97F4A7C15)
    state = np.arange(3, dtype=np.uint64) * step
    assert [hex(word) for word in _mix(state).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


@pytest.mark.parametrize("numbers", [ids(100_000), np.arange(100_000)], ids=["hashes", "counts"])
def test_draws_are_uniform_and_independent_across_purposes_and_seeds(numbers):
    draws = [uniform(numbers, *each) for each in [(0, "audit"), (0, "random"), (1, "audit")]]
    for draw in draws:
        assert draw.min() >= 0
        assert draw.max() < 1
        assert stats.kstest(draw, "uniform").pvalue > 0.001
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        cells = np.histogram2d(draws[one], draws[other], bins=20, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(cells.ravel()).pvalue > 0.001


def test_a_draw_does_not_depend_on_the_other_samples():
    numbers = ids(1000)
    shuffled = np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(
        uniform(numbers[shuffled], 7, "audit"), uniform(numbers, 7, "audit")[shuffled]
    )
    assert uniform(numbers[:1], 7, "audit")[0] == 0.7413341994723884


def brute_force(rows, forbidden):
    """Apply the definition row by row."""
    seen, kept, represented_by = set(), {}, []
    for row, (key, content, _) in enumerate(rows):
        if key in seen or content in forbidden:
            represented_by.append(-1)
        else:
            represented_by.append(kept.setdefault(content, row))
        seen.add(key)
    labels = {
        first: [rows[row][2] for row, by in enumerate(represented_by) if by == first]
        for first in kept.values()
    }
    known = {first: [x for x in given if x != UNKNOWN] for first, given in labels.items()}
    return (
        represented_by,
        [(first, [*given, UNKNOWN][0]) for first, given in known.items()],
        sum(len(set(given)) > 1 for given in known.values()),
    )


contents = st.tuples(st.integers(0, 2), st.integers(0, 2))
rows = st.lists(st.tuples(st.integers(0, 30), contents, st.integers(UNKNOWN, 2)), max_size=25)


@given(rows, st.sets(contents, max_size=2))
def test_duplicates_agree_with_brute_force(rows, forbidden):
    duplicates = deduplicate(
        np.array([key for key, _, _ in rows], dtype=np.int64),
        np.array([content for _, content, _ in rows], dtype=np.uint64).reshape(-1, 2),
        np.array([label for _, _, label in rows], dtype=np.int16),
        np.array(sorted(forbidden), dtype=np.uint64).reshape(-1, 2),
    )
    represented_by, kept, conflicts = brute_force(rows, forbidden)
    assert duplicates.represented_by_N.tolist() == represented_by
    assert list(zip(duplicates.kept_R.tolist(), duplicates.labels_R.tolist(), strict=True)) == kept
    assert duplicates.conflicts == conflicts
    dropped = duplicates.repeated_N | duplicates.leaked_N
    assert dropped.tolist() == [by == -1 for by in represented_by]
    assert not (duplicates.repeated_N & duplicates.leaked_N).any()


def test_contents_that_share_half_a_hash_are_different():
    words = np.array([[1, 2], [1, 3], [4, 2]], dtype=np.uint64)
    labels = np.zeros(3, dtype=np.int16)
    assert deduplicate(np.arange(3), words, labels, NONE).kept_R.tolist() == [0, 1, 2]
    assert deduplicate(np.arange(3), words, labels, words[:1]).kept_R.tolist() == [1, 2]
