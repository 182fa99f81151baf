import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from umc_ray.errors import ConfigError, DataError
from umc_ray.methods.scoring import top_m
from umc_ray.methods.selection import INFORMED, STRATEGIES, Candidates, select


def candidates(n, distinct=None, seed=0, d=6):
    rng = np.random.default_rng(seed)
    distinct = n if distinct is None else min(n, distinct)
    x_ND = rng.normal(size=(distinct, d)).astype(np.float32)[np.arange(n) % max(distinct, 1)]
    return Candidates(
        ids_N=rng.permutation(10 * n)[:n].astype(np.int64),
        acquisition_N=rng.integers(0, 4, size=n).astype(np.float32),  # with ties
        embeddings_ND=x_ND,
        probs_NC=rng.dirichlet(np.ones(3), size=n).astype(np.float32),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=25)
@given(st.integers(0, 40), st.integers(0, 50), st.integers(1, 40), st.integers(0, 5), st.data())
def test_picks_are_unique_complete_and_independent_of_the_order(
    strategy, n, batch, distinct, n_labeled, data
):
    pool = candidates(n, distinct)
    labeled_LD = np.random.default_rng(1).normal(size=(n_labeled, 6)).astype(np.float32)
    known = {"labeled_embeddings": labeled_LD, "labeled_answers": np.arange(n_labeled) // 3}
    picks = select(strategy, pool, batch, seed=7, **known)
    assert len(picks) == len(set(picks.tolist())) == min(n, batch)
    shuffled = np.array(data.draw(st.permutations(range(n))), np.intp)
    moved = Candidates(*(values[shuffled] for values in vars(pool).values()))
    again = select(strategy, moved, batch, seed=7, **known)
    assert moved.ids_N[again].tolist() == pool.ids_N[picks].tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_informed_strategies_use_the_labeled_samples(strategy):
    pool = candidates(60)
    alone = select(strategy, pool, 12, seed=7)
    labeled_LD = pool.embeddings_ND[alone]  # the samples that it would pick are labeled
    answers = {"labeled_embeddings": labeled_LD, "labeled_answers": np.arange(12) // 9}
    informed = select(strategy, pool, 12, seed=7, **answers)
    assert (informed.tolist() == alone.tolist()) == (strategy not in INFORMED)


def test_top_takes_the_most_informative_and_breaks_ties_by_id():
    pool = Candidates(
        np.array([9, 3, 7]), np.array([1, 1, 2], np.float32), np.zeros((3, 1), np.float32)
    )
    assert select("top", pool, 2, seed=0).tolist() == [2, 1]


def test_random_differs_by_seed():
    pool = candidates(200)
    assert (
        select("random", pool, 20, seed=1).tolist() != select("random", pool, 20, seed=2).tolist()
    )


def test_power_draws_in_proportion_to_the_acquisition():
    acquisition_N = np.array([0, 1, 2, 3, 4], np.float32)
    pool = Candidates(np.arange(5), acquisition_N, np.zeros((5, 1), np.float32))
    firsts = [select("power", pool, 1, seed=seed)[0] for seed in range(2000)]
    np.testing.assert_allclose(
        np.bincount(firsts, minlength=5) / 2000, acquisition_N / 10, atol=0.04
    )


def test_rare_alternates_between_neighbors_of_rare_classes_and_uncertain_samples():
    # on a line: one rare label at 10, common ones at 0 and 20; candidates in between
    labeled_LD = np.array([[0], [20], [20], [10]], np.float32)
    x_ND = np.array([[1], [9], [14], [18], [11.5], [5]], np.float32)
    pool = Candidates(np.arange(6), np.array([0, 0, 0, 0, 0, 9], np.float32), x_ND)
    known = {"labeled_embeddings": labeled_LD, "labeled_answers": np.array([0, 0, 0, 1])}
    assert select("rare", pool, 3, seed=0, **known).tolist() == [1, 5, 4]
    alone, uncertain = (
        select(strategy, pool, 3, seed=0, labeled_embeddings=labeled_LD).tolist()
        for strategy in ("rare", "uncertainty_herding")
    )
    assert alone == uncertain


def test_adaptive_covers_with_few_labels_and_clusters_the_least_certain_with_many():
    rng = np.random.default_rng(0)
    x_ND, acquisition_N = rng.normal(size=(90, 4)).astype(np.float32), rng.random(90)
    pool = Candidates(np.arange(90), acquisition_N, x_ND)
    for count, strategy in ((199, "uncertainty_herding"), (200, "cluster")):
        labeled_LD = rng.normal(size=(count, 4)).astype(np.float32)
        picks = select("adaptive", pool, 3, seed=0, labeled_embeddings=labeled_LD)
        subset = pool
        rows = np.arange(90)
        if strategy == "cluster":
            rows = np.sort(np.argsort(-acquisition_N)[:60])
            subset = Candidates(rows, acquisition_N[rows], x_ND[rows])
        expected = rows[select(strategy, subset, 3, seed=0, labeled_embeddings=labeled_LD)]
        assert picks.tolist() == expected.tolist()


@pytest.mark.parametrize("strategy", ["cluster", "herding", "uncertainty_herding", "typical"])
def test_each_group_gets_one_pick(strategy):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 12)
    x_ND = (100 * np.eye(8)[groups] + rng.normal(size=(96, 8))).astype(np.float32)
    pool = Candidates(np.arange(96), rng.random(96).astype(np.float32), x_ND)
    picks = select(strategy, pool, 8, seed=0)
    assert sorted(groups[picks].tolist()) == list(range(8))


@pytest.mark.parametrize("strategy", ["herding", "typical", "kcenter"])
def test_labeled_groups_are_picked_last(strategy):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 10)
    x_ND = (100 * np.eye(6)[groups] + rng.normal(size=(60, 6))).astype(np.float32)
    pool = Candidates(np.arange(60), np.zeros(60, np.float32), x_ND)
    labeled_LD = (100 * np.eye(6)[[0, 1, 2]]).astype(np.float32)
    picks = select(strategy, pool, 3, seed=0, labeled_embeddings=labeled_LD)
    assert sorted(groups[picks].tolist()) == [3, 4, 5]


def test_cluster_weighs_information_against_closeness_to_the_center():
    # two distant groups: the informative sample is central in one and an outlier in the other
    x_ND = np.array([[0], [1], [-1], [100], [101], [99], [110]], np.float32)
    acquisition_N = np.array([0.9, 0.2, 0.2, 0.5, 0.5, 0.5, 0.6], np.float32)
    picks = select("cluster", Candidates(np.arange(7), acquisition_N, x_ND), 2, seed=0)
    assert picks[0] == 0
    assert picks[1] in (3, 4)


def test_near_duplicates_are_picked_only_when_nothing_else_is_left():
    rng = np.random.default_rng(0)
    distinct_ND = rng.normal(size=(10, 4)).astype(np.float32)
    x_ND = np.repeat(distinct_ND, 5, axis=0) + 3e-3 * rng.normal(size=(50, 4)).astype(np.float32)
    pool = Candidates(np.arange(50), rng.random(50).astype(np.float32), x_ND)
    picks = select("cluster", pool, 12, seed=0)
    assert set((picks[:10] // 5).tolist()) == set(range(10))
    assert len(set(picks.tolist())) == 12


def test_badge_does_not_draw_a_gradient_twice():
    rng = np.random.default_rng(2)
    x_ND = np.repeat(rng.normal(size=(8, 50)).astype(np.float32), 4, axis=0)
    probs_NC = np.repeat(rng.dirichlet(np.ones(5), size=8).astype(np.float32), 4, axis=0)
    pool = Candidates(np.arange(32), np.arange(32, dtype=np.float32), x_ND, probs_NC)
    for seed in range(10):
        picks = select("badge", pool, 9, seed=seed)
        assert sorted((picks[:8] // 4).tolist()) == list(range(8))
        # no distinct gradient is left, so the most informative of the rest fills the batch
        assert picks[8] == max(set(range(32)) - set(picks[:8].tolist()))


def test_badge_draws_in_proportion_to_squared_gradient_distances():
    rng = np.random.default_rng(0)
    pool = candidates(6, seed=3)
    residual_NC = pool.probs_NC - np.eye(3)[pool.probs_NC.argmax(1)]
    gradients = (residual_NC[:, :, None] * pool.embeddings_ND[:, None, :]).reshape(6, -1)
    first = int((gradients**2).sum(1).argmax())
    mass_N = ((gradients - gradients[first]) ** 2).sum(1)
    seconds = [select("badge", pool, 2, seed=int(s))[1] for s in rng.integers(0, 2**31, 2000)]
    shares_N = np.bincount(seconds, minlength=6) / 2000
    np.testing.assert_allclose(shares_N, mass_N / mass_N.sum(), atol=0.04)


def test_invalid_requests_are_errors():
    pool = candidates(5)
    with pytest.raises(ConfigError, match=r"'best'.*random, top, power, cluster"):
        select("best", pool, 2, seed=0)
    with pytest.raises(DataError, match="badge"):
        select("badge", Candidates(pool.ids_N, pool.acquisition_N, pool.embeddings_ND), 2, seed=0)
    with pytest.raises(DataError, match="'acquisition_N': 4"):
        short = Candidates(pool.ids_N, pool.acquisition_N[:4], pool.embeddings_ND)
        select("top", short, 2, seed=0)
    with pytest.raises(DataError, match="got 5 labeled samples, but 4 answers"):
        x_ND = pool.embeddings_ND
        select("rare", pool, 2, seed=0, labeled_embeddings=x_ND, labeled_answers=np.arange(4))
    with pytest.raises(DataError, match="cannot select -1"):
        select("top", pool, -1, seed=0)


def learned_accuracy(strategy, seed):
    """Return the mean accuracy on digits over five batches of 20 after 20 random labels."""
    x_ND, y_N = load_digits(return_X_y=True)
    x_ND = (x_ND / 16).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(x_ND))
    test, pool, labeled = order[:500], order[500:], list(order[500:520])
    accuracies = []
    for number in range(6):
        model = LogisticRegression(max_iter=200).fit(x_ND[labeled], y_N[labeled])
        accuracies.append(model.score(x_ND[test], y_N[test]))
        left = np.setdiff1d(pool, labeled)
        top_2 = np.sort(model.predict_proba(x_ND[left]), axis=1)[:, -2:]
        margin_N = (1 - top_2[:, 1] + top_2[:, 0]).astype(np.float32)
        best = left if strategy == "random" else left[top_m(margin_N, left, 400)]
        acquisition_N = margin_N[np.searchsorted(left, best)]
        picks = select(strategy, Candidates(best, acquisition_N, x_ND[best]), 20, seed=number)
        labeled += best[picks].tolist()
    return float(np.mean(accuracies[1:]))


def test_on_digits_cluster_beats_top_and_top_beats_random():
    with threadpool_limits(1):  # tiny fits are 30 times slower with several threads
        means = {
            strategy: np.mean([learned_accuracy(strategy, seed) for seed in range(10)])
            for strategy in ("random", "top", "cluster")
        }
    assert means["cluster"] > means["top"] + 0.005
    assert means["top"] > means["random"] + 0.005
