"""Spans against brute force over all pairs of tokens. Axes as in the module."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from umc_ray.methods import spans

WORDS = np.array([[-1, -1], [0, 3], [4, 7], [8, 13], [13, 14]])  # a first token, and four words


def logits(seed, tokens=5):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(tokens, 2))).float()


def by_brute_force(windows, offsets):
    """The probability of each span of characters; (-1, -1) is none."""
    scores = {(-1, -1): [np.mean([float(each[0].sum()) for each in windows])]}
    for found, places in zip(windows, offsets, strict=True):
        inside = [i for i, place in enumerate(places) if place[0] >= 0]
        for i in inside:
            for j in inside:
                if i <= j < i + spans.MAX_TOKENS:
                    span = (places[i][0], places[j][1])
                    scores.setdefault(span, []).append(float(found[i, 0] + found[j, 1]))
    total = math.log(sum(math.exp(each) for own in scores.values() for each in own))
    return {span: sum(math.exp(each - total) for each in own) for span, own in scores.items()}


@pytest.mark.parametrize("windows", [1, 2])
def test_all_spans_have_one_distribution(windows):
    offsets = [WORDS, np.array([[-1, -1], [8, 13], [13, 14], [15, 20]])][:windows]
    found = [logits(seed, len(places)) for seed, places in enumerate(offsets)]
    expected = by_brute_force(found, offsets)
    scored = spans.score_spans([torch.cat([each, logits(9, 3)]) for each in found], offsets)
    listed = spans.most_probable(scored, offsets, 100)
    assert {(start, end): math.exp(p) for p, start, end in listed} == pytest.approx(
        expected, rel=1e-4
    )
    assert [p for p, _, _ in listed] == sorted((p for p, _, _ in listed), reverse=True)
    assert sum(expected.values()) == pytest.approx(1)
    loss = spans.log_loss(scored, offsets, [(8, 14), (0, 3)], none=True)
    right = expected[8, 14] + expected[0, 3] + expected[-1, -1]
    assert float(loss) == pytest.approx(-math.log(right), rel=1e-4)


def test_a_span_of_too_many_tokens_is_none_and_a_right_one_is_cut():
    n = spans.MAX_TOKENS + 5
    offsets = np.array([[-1, -1], *([2 * i, 2 * i + 1] for i in range(n))])
    scored = spans.score_spans([torch.zeros(n + 1, 2)], [offsets])
    found = spans.most_probable(scored, [offsets], 10_000)
    assert max(end - start for _, start, end in found) == 2 * spans.MAX_TOKENS - 1
    assert len(found) == 1 + sum(min(spans.MAX_TOKENS, n - i) for i in range(n))
    assert spans.tokens_of(offsets, 0, 2 * n - 1) == [(1, spans.MAX_TOKENS)]


@pytest.mark.parametrize(
    ("span", "tokens"),
    [
        ((4, 7), [(2, 2)]),
        ((4, 14), [(2, 4)]),
        ((5, 6), [(2, 2)]),  # within a token
        ((3, 4), []),  # a space
        ((13, 20), []),  # goes on beyond the window
    ],
)
def test_the_tokens_of_a_span_of_characters(span, tokens):
    assert spans.tokens_of(WORDS, *span) == tokens


def test_an_answer_in_no_window_costs_nothing_and_moves_nothing():
    found = logits(0).requires_grad_()
    loss = spans.log_loss(spans.score_spans([found], [WORDS]), [WORDS], [(30, 40)], none=False)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not found.grad.any()


def test_the_loss_of_a_right_span_has_gradients_without_nan():
    found = logits(1).requires_grad_()
    spans.log_loss(spans.score_spans([found], [WORDS]), [WORDS], [(0, 7)], none=False).backward()
    assert found.grad.isfinite().all()
    assert found.grad[1, 0] < 0 < found.grad[2, 0]


def test_overlap_is_the_f1_of_characters():
    starts, lengths = torch.tensor([[0, 2, 8, -1]]), torch.tensor([[4, 4, 2, 0]])
    best = torch.tensor([0])
    assert spans.overlap(starts, lengths, best)[0].tolist() == [1, 0.5, 0, 0]
    assert spans.overlap(starts, lengths, torch.tensor([3]))[0].tolist() == [0, 0, 0, 1]


def js(p, q):
    mixed = (p + q) / 2
    return sum(
        float((each[each > 0] * np.log2(each[each > 0] / mixed[each > 0])).sum()) / 2
        for each in (p, q)
    )


def test_disagreement_is_the_divergence_on_characters():
    """Three specialists, five spans, against distributions over twelve characters."""
    rng = np.random.default_rng(0)
    starts, lengths = np.array([0, 2, 5, 5, -1]), np.array([3, 4, 1, 7, 0])
    given = rng.dirichlet(np.ones(6), size=3)  # the last is what is not listed
    dense = np.zeros((3, 14))
    for s, own in enumerate(given):
        for k, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            if length:
                dense[s, start : start + length] += own[k] / length
        dense[s, 12:] = own[4], own[5]
    expected = np.mean([js(dense[i], dense[j]) for i, j in combinations(range(3), 2)])
    found = spans.disagreement(
        torch.from_numpy(given[:, None, :5]),
        torch.from_numpy(given[:, None, 5]),
        torch.from_numpy(starts)[None],
        torch.from_numpy(lengths)[None],
    )
    assert found.tolist() == pytest.approx([expected])


def test_spans_that_overlap_differ_by_less_than_others():
    starts, lengths = torch.tensor([[0, 1, 20]]), torch.tensor([[5, 5, 5]])
    sure = torch.eye(3)[:, None]
    one, other = (
        spans.disagreement(sure[[0, k]], torch.zeros(2, 1), starts, lengths) for k in (1, 2)
    )
    assert 0 < float(one) < float(other) == pytest.approx(1)
    assert spans.disagreement(sure[:1], torch.zeros(1, 1), starts, lengths).tolist() == [0]
