"""What only numbers do. Suffixes: N samples, D embedding dimension."""

import numpy as np
import pytest
import torch

from tests.specialists.test_trees import fit
from umc_ray.methods import heads
from umc_ray.tasks.registry import task_kind
from umc_ray.tasks.regression import Regression
from umc_ray.tasks.task import Votes, agreement

KIND = Regression((), (0.0, 5.0))


@pytest.mark.parametrize("range", [None, (5, 0), (1, 1), (0, float("nan")), (0, float("inf"))])
def test_a_range_is_asked_for(range):
    with pytest.raises(ValueError, match=r"needs range: \[lowest, highest\]"):
        Regression((), range)


def test_a_kind_refuses_an_option_that_it_has_not():
    with pytest.raises(ValueError, match="a task of kind classification has no range"):
        task_kind("classification", ("a", "b"), range=(0, 5))


def test_numbers_have_one_spelling_and_errors_are_shares_of_the_range():
    assert [KIND.parse(raw) for raw in ("4.50", "5e0", 3.0, "-0", ["2"])] == [
        *("4.5", "5", "3", "0", "2")
    ]
    assert KIND.utility(["4", "0"], ["3", "5"]).tolist() == pytest.approx([0.8, 0])
    assert agreement(KIND, "4", ["4", "3"]) == pytest.approx(0.9)
    assert KIND.strata(["0", "0.9", "1", "5"]).tolist() == [0, 0, 1, 4]


def test_a_prediction_is_written_to_a_thousandth_of_the_range():
    moments_N2 = torch.tensor([[0.123456, 0.1], [0.7, 0.6]])
    assert KIND.predict(moments_N2, {}) == ["3.117", "5"]
    assert Regression((), (0, 1e6)).predict(moments_N2, {}) == ["623456", "1000000"]
    assert Regression((), (0, 1)).predict(moments_N2, {}) == ["0.623", "1"]


def test_people_close_to_each_other_settle_a_sample():
    texts = ["3", "3.2", "3.1", "0", "5", "2.5"]
    votes = Votes(np.repeat([1, 2], 3), np.tile(np.arange(3), 2), tuple(texts))
    many = Votes(
        np.concatenate([votes.sample_V, np.repeat(np.arange(10, 40), 3)]),
        np.concatenate([votes.person_V, np.tile(np.arange(3), 30)]),
        (*texts, *["4"] * 90),
    )
    assert KIND.consensus(votes) == {1: "3.1", 2: "2.5"}
    assert KIND.settled(many, 0.9) == {1, *range(10, 40)}


def data(n, seed):
    """Numbers that follow a line, with errors that are larger on one side."""
    rng = np.random.default_rng(seed)
    x_ND = rng.normal(size=(n, 6)).astype(np.float32)
    deviation_N = np.where(x_ND[:, 1] > 0, 0.9, 0.1)
    values_N = np.clip(2.5 + 0.8 * x_ND[:, 0] + deviation_N * rng.normal(size=n), 0, 5)
    return x_ND, [KIND.parse(round(value, 4)) for value in values_N.tolist()], deviation_N


def judged(outputs_N2, held_out_N2, texts, new_texts):
    """Predictions for new samples: how they correlate, and how calibrated they are."""
    ones_N = np.ones(len(texts), np.float32)
    calibration = KIND.calibrate(np.asarray(held_out_N2), KIND.encode(texts), ones_N)
    probs_SN2 = KIND.activation([calibration])(torch.as_tensor(outputs_N2)[None])
    found = KIND.measures(probs_SN2, {})
    predicted = KIND.predict(found.mean_NC, {})
    right_N = KIND.utility(predicted, new_texts) >= KIND.right_from
    # Held-out predictions are of models with fewer samples, so that certainty is rather too low.
    assert -0.05 < right_N.mean() - found.certainty_N.mean() < 0.1
    correlation = np.corrcoef(np.float64(predicted), np.float64(new_texts))[0, 1]
    return correlation, found.columns["variance"].numpy()


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_heads_learn_numbers_and_where_they_are_uncertain(kind):
    (x_ND, texts, _), (new_ND, new_texts, deviation_N) = data(400, 0), data(300, 1)
    found = heads.fit(
        x_ND,
        KIND.encode(texts),
        np.ones(400, np.float32),
        np.arange(400) % 5,
        heads.start(kind, 1, 6, KIND.outputs, 16, 0),
        KIND.loss,
    )
    outputs_N2 = heads.forward(found.parameters, torch.from_numpy(new_ND))[0]
    correlation, variance_N = judged(outputs_N2, found.held_out_NC, texts, new_texts)
    assert correlation > 0.7
    is_noisy_N = deviation_N > 0.5
    assert variance_N[is_noisy_N].mean() > 2 * variance_N[~is_noisy_N].mean()


def test_trees_learn_numbers(tmp_path):
    (x_ND, texts, _), (new_ND, new_texts, _) = data(200, 0), data(200, 1)
    model, held_out_N2, report = fit(KIND, x_ND, texts, tmp_path)
    correlation, _ = judged(model.outputs(new_ND), held_out_N2, texts, new_texts)
    assert correlation > 0.6
    assert 0 < report.loss < 5
