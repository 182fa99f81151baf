import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umc_ray.methods.gaps import (
    Errors,
    build_tree,
    cluster,
    error_in_gap,
    fewer_than_expected,
    find_gaps,
    significant,
    visible_share,
)

PATTERNS, EACH = 6, 100


@pytest.fixture(scope="module")
def pool():
    """Six patterns of 100 samples each, far apart, and the tree over them."""
    rng = np.random.default_rng(0)
    centers = 20 * np.eye(PATTERNS, 8)
    x = np.repeat(centers, EACH, axis=0) + rng.normal(size=(PATTERNS * EACH, 8))
    x = x.astype(np.float32)
    return build_tree(x, cluster(x, seed=0)), np.repeat(np.arange(PATTERNS), EACH)


def labeled(pool, counts):
    tree, patterns = pool
    rows = [np.flatnonzero(patterns == each)[:n] for each, n in enumerate(counts)]
    return tree.labels_N[np.concatenate(rows)]


def test_a_pattern_without_labels_is_found_whole_and_alone(pool):
    tree, patterns = pool
    (gap,) = find_gaps(tree, labeled(pool, [30, 30, 30, 0, 30, 30]))
    rows = np.isin(tree.labels_N, gap.clusters)
    assert set(patterns[rows]) == {3}
    assert rows.sum() == EACH
    assert (gap.labeled, gap.share) == (0, pytest.approx(1 / PATTERNS))
    assert gap.expected == pytest.approx(25)


def test_two_patterns_far_apart_are_two_gaps_or_one(pool):
    tree, patterns = pool
    gaps = find_gaps(tree, labeled(pool, [50, 50, 0, 50, 50, 0]))
    rows = np.isin(tree.labels_N, [each for gap in gaps for each in gap.clusters])
    assert set(patterns[rows]) == {2, 5}


def test_labels_in_the_shares_of_the_pool_leave_no_gap(pool):
    assert find_gaps(pool[0], labeled(pool, [30] * PATTERNS)) == []


def test_few_labels_leave_no_gap(pool):
    assert find_gaps(pool[0], labeled(pool, [1, 1, 1, 0, 1, 1])) == []
    assert find_gaps(pool[0], np.zeros(0, np.int64)) == []


def test_new_samples_fall_into_the_cluster_of_the_nearest_center(pool):
    tree, _ = pool
    assert tree.clusters(tree.centers_KD).tolist() == list(range(len(tree.centers_KD)))
    assert tree.clusters(tree.centers_KD[:0]).tolist() == []


def test_nodes_count_the_samples_of_their_clusters(pool):
    tree, _ = pool
    counts = tree.count(tree.labels_N)
    for node, count in zip(tree.nodes_TK, counts, strict=True):
        assert count == np.isin(tree.labels_N, np.flatnonzero(node)).sum()


def test_p_values_are_those_of_fishers_test():
    from scipy.stats import fisher_exact

    found = fewer_than_expected(np.array([1, 4]), 50, np.array([30, 12]), 200)
    tables = [[[1, 49], [30, 170]], [[4, 46], [12, 188]]]
    assert found == pytest.approx([fisher_exact(each, "less").pvalue for each in tables])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=50)
def test_significance_is_that_of_scipy(p_values):
    from scipy.stats import false_discovery_control

    adjusted = false_discovery_control(p_values)
    clear = np.abs(adjusted - 0.05) > 1e-9
    found = significant(np.array(p_values), 0.05)
    assert (found == (adjusted <= 0.05))[clear].all()


def test_errors_of_a_gap():
    overall = Errors(n=95, wrong=9.5, expected=0.1)
    # No audit sample in it: as many times the mean as the models expect.
    assert error_in_gap(Errors(0, 0, 0.3), overall) == pytest.approx((0.3, 0.1))
    # As many wrong audits as the prior counts for.
    assert error_in_gap(Errors(10, 10, 0.3), overall)[0] == pytest.approx(0.65)
    # Models that are too sure overall are corrected in the gap, too.
    unsure = Errors(n=1000, wrong=200, expected=0.1)
    assert error_in_gap(Errors(0, 0, 0.3), unsure)[0] == pytest.approx(0.6, abs=0.01)


def test_the_share_that_a_gap_must_have_to_be_seen():
    assert visible_share(300) == pytest.approx(0.1)
    assert visible_share(10) == visible_share(0) == 1
