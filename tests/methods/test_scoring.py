import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from umc_ray.errors import ConfigError, DataError
from umc_ray.methods import scoring
from umc_ray.methods.scoring import (
    ACQUISITIONS,
    acquisition,
    ensemble_probabilities,
    merge_top,
    score,
    top_m,
)

LOGITS = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(2, 5)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-60, 60, width=32))
)


def entropy(p):
    return -sum(v * math.log2(v) for v in p if v > 0)


def divergence(p, q):
    """Compute the Jensen-Shannon divergence by its definition, as mean of two KL divergences."""
    mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    kls = [sum(a * math.log2(a / m) for a, m in zip(d, mean, strict=True) if a > 0) for d in (p, q)]
    return sum(kls) / 2


def by_hand(probs_SC):
    n = len(probs_SC)
    pairs = [divergence(probs_SC[i], probs_SC[j]) for i, j in permutations(range(n), 2)]
    mean_C = np.mean(probs_SC, axis=0)
    first, second = sorted(mean_C)[::-1][:2]
    confidence = float(np.mean([max(p) for p in probs_SC]))
    disagreement = float(np.mean(pairs)) if pairs else 0.0
    return {
        "confidence_N": confidence,
        "disagreement_N": disagreement,
        "score_N": n * (confidence - disagreement),
        "margin_N": first - second,
        "entropy_N": entropy(mean_C),
        "mutual_information_N": entropy(mean_C) - float(np.mean([entropy(p) for p in probs_SC])),
    }


@settings(max_examples=60)
@given(LOGITS)
def test_scores_equal_their_definitions(logits_SNC):
    probs_SNC = ensemble_probabilities(
        torch.from_numpy(logits_SNC), torch.full((len(logits_SNC),), 2.0)
    )
    scores = score(probs_SNC)
    for row in range(probs_SNC.shape[1]):
        for name, expected in by_hand(probs_SNC[:, row].double().tolist()).items():
            assert float(getattr(scores, name)[row]) == pytest.approx(expected, abs=5e-6), name


def test_two_specialists_sure_of_different_classes_disagree_by_one_bit():
    scores = score(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
    assert float(scores.confidence_N) == 1
    assert float(scores.disagreement_N) == 1
    assert float(scores.score_N) == 0
    assert float(scores.margin_N) == 0
    assert float(scores.mutual_information_N) == 1


def test_the_score_of_the_method_is_a_sum_over_specialists():
    # each of three has confidence .8 and JSD(p, q) = d to one other, 0 to its twin
    p, q = [0.8, 0.2], [0.2, 0.8]
    d = divergence(p, q)
    scores = score(torch.tensor([[p], [p], [q]]))
    expected = (0.8 - d / 2) + (0.8 - d / 2) + (0.8 - d)
    assert float(scores.score_N) == pytest.approx(expected, abs=1e-6)


def test_one_specialist_never_disagrees():
    scores = score(torch.tensor([[[0.7, 0.3], [0.5, 0.5]]]))
    assert scores.disagreement_N.tolist() == [0, 0]
    assert scores.score_N.tolist() == pytest.approx([0.7, 0.5])


def test_of_many_specialists_each_is_compared_with_as_many_others(monkeypatch):
    """Pairs 1, 2 and 3 apart in a circle of seven are all there are; 1 and 3 apart are most."""
    logits_SNC = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 5, 3)))
    probs_SNC = logits_SNC.softmax(-1)
    exact_N = score(probs_SNC).disagreement_N
    monkeypatch.setattr(scoring, "MOST_PAIRS", 20)
    some = [
        [divergence(p[i], p[(i + step) % 7]) for step in (1, 3) for i in range(7)]
        for p in probs_SNC.transpose(0, 1).numpy()
    ]
    np.testing.assert_allclose(score(probs_SNC).disagreement_N, np.mean(some, 1), atol=1e-6)
    monkeypatch.setattr(scoring, "_steps", lambda _: [1, 2, 3])
    np.testing.assert_allclose(score(probs_SNC).disagreement_N, exact_N, atol=1e-6)


def test_blocks_do_not_show_in_the_scores(monkeypatch):
    logits_SNC = torch.randn(3, 50, 4, generator=torch.Generator().manual_seed(0))
    whole = score(ensemble_probabilities(logits_SNC, torch.ones(3)))
    monkeypatch.setattr(scoring, "_BLOCK_CPU", 7 * 3 * 4)
    blocks = score(ensemble_probabilities(logits_SNC, torch.ones(3)))
    for name in vars(whole):
        torch.testing.assert_close(getattr(whole, name), getattr(blocks, name))


def test_probabilities_are_the_softmax_of_scaled_logits():
    logits_SNC = torch.tensor([[[0.0, math.log(9)]], [[0.0, math.log(9)]]])
    probs_SNC = ensemble_probabilities(logits_SNC, torch.tensor([1.0, 2.0]))
    assert probs_SNC[:, 0, 1].tolist() == pytest.approx([0.9, 0.75])


def test_huge_logits_of_half_precision_give_finite_scores():
    logits_SNC = torch.tensor([[[6e4, -6e4, 0.0]], [[-6e4, 6e4, 0.0]]], dtype=torch.float16)
    scores = score(ensemble_probabilities(logits_SNC, torch.tensor([0.05, 0.05])))
    assert all(bool(value.isfinite().all()) for value in vars(scores).values())
    assert float(scores.disagreement_N) == 1


@pytest.mark.parametrize("temperatures", [[1.0], [1.0, 0.0], [1.0, float("nan")]])
def test_temperatures_must_fit_the_specialists(temperatures):
    with pytest.raises(DataError, match="2 positive temperatures"):
        ensemble_probabilities(torch.zeros(2, 1, 2), torch.tensor(temperatures))


def test_no_samples_give_no_scores():
    assert score(torch.zeros(2, 0, 3)).score_N.shape == (0,)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_acquisition_prefers_the_doubtful_sample(name):
    sure, doubtful = [[0.98, 0.01, 0.01]] * 2, [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]
    probs_SNC = torch.tensor([sure, doubtful]).transpose(0, 1)
    low, high = acquisition(score(probs_SNC), name).tolist()
    assert low < high


def test_an_unknown_acquisition_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"'marginn'.*margin, entropy"):
        acquisition(score(torch.full((1, 1, 2), 0.5)), "marginn")


VALUES = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.5]), st.integers()), max_size=30)


@given(VALUES, st.integers(0, 35))
def test_top_m_is_the_head_of_a_full_sort(values, m):
    acquisition_N = np.array([value for value, _ in values], np.float32)
    ids_N = np.random.default_rng(0).permutation(len(values))
    full = sorted(range(len(values)), key=lambda row: (-acquisition_N[row], ids_N[row]))
    assert top_m(acquisition_N, ids_N, m).tolist() == full[:m]


@given(VALUES, st.integers(0, 35), st.integers(1, 4))
def test_merging_the_best_of_parts_gives_the_best_of_all(values, m, n_parts):
    acquisition_N = np.array([value for value, _ in values], np.float32)
    ids_N = np.arange(len(values))[::-1]
    parts = []
    for rows in np.array_split(np.arange(len(values)), n_parts):
        best = rows[top_m(acquisition_N[rows], ids_N[rows], m)]
        parts.append((acquisition_N[best], ids_N[best]))
    merged = merge_top(parts, m)
    best = top_m(acquisition_N, ids_N, m)
    assert merged[0].tolist() == acquisition_N[best].tolist()
    assert merged[1].tolist() == ids_N[best].tolist()


def test_an_acquisition_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="1 acquisition"):
        top_m(np.array([0.1, np.nan], np.float32), np.arange(2), 1)
