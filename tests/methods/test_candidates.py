"""Lists of candidates. Axes as in the module."""

import math

import numpy as np
import pytest
import torch

from umc_ray.methods import candidates
from umc_ray.methods.candidates import LIST, NOTHING, UNLISTED, WIDTH


def row(answers, rest=0.0):
    """A list of (probability, start, text), and the probability of the rest."""
    logs = [(math.log(p), start, text) for p, start, text in answers]
    return candidates.listed(logs, math.log(rest) if rest else NOTHING)


def lists(*specialists):
    """Probabilities SNC of specialists with N lists each."""
    rows_SNC = torch.stack([torch.stack(own) for own in specialists])
    return candidates.probabilities(rows_SNC, torch.ones(len(specialists)))


def read(row_C):
    """By start and text, the probabilities in a row."""
    found = candidates.unpack(row_C)
    return {
        (int(start), candidates.text_of(text)): float(p)
        for p, start, text in zip(found.values_K, found.starts_K, found.bytes_KW, strict=True)
        if p > 0
    }


def test_a_list_survives_half_precision():
    """Starts beyond 2,048, where float16 begins to skip numbers, and texts of any script."""
    answers = [(0.5, 0, "Paris"), (0.25, 4321, "à Paris, 東京"), (0.25, -1, "")]
    half = row(answers).numpy().astype(np.float16)
    assert half.shape == (WIDTH,)
    assert np.isfinite(half).all()
    back = candidates.probabilities(torch.from_numpy(half)[None, None], torch.ones(1))[0, 0]
    assert read(back) == pytest.approx({each[1:]: each[0] for each in answers}, abs=1e-3)
    assert candidates.unpack(back).lengths_K[:4].tolist() == [5, 11, 0, 0]


def test_equal_texts_have_equal_numbers_and_no_others():
    texts = ["", "a", "b", "ab", "ba", "a" * 128, "東京"]
    assert len({candidates.text_key(text) for text in texts}) == len(texts)
    assert candidates.text_key("") == 0
    found = candidates.unpack(row([(0.5, 3, "東京"), (0.5, 9, "東京")]))
    assert found.texts_K[:3].tolist() == [candidates.text_key("東京")] * 2 + [0]


def test_a_text_that_is_cut_within_a_character_can_be_read():
    assert candidates.text_of(candidates.text_bytes("é" * 65)) == "é" * 64
    assert candidates.fits("é" * 64)
    assert not candidates.fits("é" * 65)


def test_a_temperature_counts_the_rest_as_one_answer():
    cold = candidates.probabilities(
        row([(0.5, 0, "a"), (0.3, 2, "b")], 0.2)[None, None], 2 * torch.ones(1)
    )
    expected = np.sqrt([0.2, 0.5, 0.3])
    assert cold[0, 0, :3].tolist() == pytest.approx(expected / expected.sum())


def test_specialists_are_aligned_by_place_and_text():
    first, second = [(0.6, 0, "a"), (0.3, 5, "a")], [(0.5, 5, "a"), (0.4, -1, "")]
    aligned = candidates.align(lists([row(first, 0.1)], [row(second, 0.1)]))
    share = 0.1 / UNLISTED
    found = {
        (int(start), candidates.text_of(text)): probs_S.tolist()
        for start, text, probs_S in zip(
            aligned.slots.starts_K[0],
            aligned.slots.bytes_KW[0],
            aligned.probs_SNU[:, 0].T,
            strict=True,
        )
        if probs_S.any()
    }
    expected = {(0, "a"): [0.6, share], (5, "a"): [0.3, 0.5], (-1, ""): [share, 0.4]}
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=1e-4)
    total = aligned.probs_SNU.sum(2) + aligned.rest_SN
    torch.testing.assert_close(total, torch.ones(2, 1))


def test_a_pool_is_the_weighted_product_and_its_gradient_is_right():
    first = [row([(0.6, 0, "a"), (0.3, 5, "b")], 0.1), row([(0.9, 7, "c")], 0.1)]
    second = [row([(0.2, 0, "a"), (0.7, 5, "b")], 0.1), row([(0.5, 1, "d")], 0.5)]
    aligned = candidates.align(lists(first, second).double())
    mean_NU, rest_N = candidates.pooled(aligned, torch.tensor([0.7, 0.3]).double())
    powers = [0.6**0.7 * 0.2**0.3, 0.3**0.7 * 0.7**0.3, 0.1]
    assert mean_NU[0, :2].tolist() == pytest.approx(np.divide(powers, sum(powers))[:2], rel=1e-4)
    torch.testing.assert_close(mean_NU.sum(1) + rest_N, torch.ones(2).double())
    weights = torch.tensor([0.7, 0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: candidates.pooled(aligned, w)[0], weights)
    plain_NU, _ = candidates.pooled(aligned, None)
    assert plain_NU[0, :2].tolist() == pytest.approx([0.4, 0.5], rel=1e-4)


def test_the_best_of_all_candidates_stay_and_the_rest_is_what_remains():
    """Three specialists that list other answers each: more than fit into one list."""
    each = [[row([(0.1, 10 * s + i, f"{s}{i}") for i in range(LIST)], 0.2)] for s in range(3)]
    aligned = candidates.align(lists(*each))
    mean_NU, _ = candidates.pooled(aligned, torch.tensor([0.6, 0.3, 0.1]))
    best = candidates.best_of(aligned.slots, mean_NU)
    assert set(read(best[0])) == {(i, f"0{i}") for i in range(LIST)}
    found = candidates.unpack(best)
    assert float(found.rest + found.values_K.sum()) == pytest.approx(1)


def test_the_same_text_in_several_places_is_one_answer():
    found = candidates.unpack(lists([row([(0.4, 0, "a"), (0.35, 2, "b"), (0.2, 9, "b")], 0.05)])[0])
    assert candidates.by_text(found)[0, :3].tolist() == pytest.approx([0.4, 0.55, 0.55])
    keys = torch.tensor([[candidates.text_key("b"), -1], [candidates.text_key("x"), -1]])
    right = candidates.of_right_ones(
        candidates.unpack(lists([row([(0.4, 0, "a"), (0.55, 2, "b")], 0.05)] * 2)[0]), keys
    )
    assert right.tolist() == pytest.approx([0.55, 0.05 / UNLISTED])


def test_no_answer_is_right_only_where_it_is_listed():
    with_none, without = row([(0.7, -1, ""), (0.2, 0, "a")], 0.1), row([(0.9, 0, "a")], 0.1)
    found = candidates.unpack(lists([with_none, without])[0])
    keys = torch.zeros(2, 1, dtype=torch.int64)
    assert candidates.of_right_ones(found, keys).tolist() == pytest.approx([0.7, 0.1 / UNLISTED])
    raw = torch.stack([with_none, without]).numpy()
    assert candidates.classes_of(raw, keys).tolist() == [1, 0]


def test_entropy_spreads_the_rest():
    probs, rest = torch.tensor([[0.5, 0.25]]), torch.tensor([0.25])
    expected = 0.5 + 0.5 + 0.25 * math.log2(4 * UNLISTED)
    assert candidates.entropy(probs, rest).tolist() == pytest.approx([expected])
