import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning

from umc_ray.methods.class_figures import POSITIVE, class_figures, recalls

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)

ROUNDING = 1e-12


def confusion(rows):
    counts_CC = np.zeros((4, 4), np.int64)
    for truth, predicted in rows:
        counts_CC[truth, predicted] += 1
    return counts_CC


@settings(max_examples=30)
@given(pairs)
def test_figures_are_those_of_scikit_learn(rows):
    truth, predicted = zip(*rows, strict=True)
    found = class_figures(confusion(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.simplefilter("ignore", UserWarning)  # a predicted class that does not occur
        balanced = sklearn.metrics.balanced_accuracy_score(truth, predicted)
        f1 = sklearn.metrics.f1_score(truth, predicted, average="macro")
        theirs = sklearn.metrics.recall_score(truth, predicted, average=None, labels=range(4))
        matthews = sklearn.metrics.matthews_corrcoef(truth, predicted)
    assert found["balanced accuracy"][0] == pytest.approx(balanced)
    assert found["macro F1"][0] == pytest.approx(f1)
    for number, (value, low, high) in recalls(confusion(rows)).items():
        assert value == pytest.approx(theirs[number])
        assert 0 <= low <= value + ROUNDING
        assert value <= high + ROUNDING <= 1 + ROUNDING
    assert found["Matthews correlation"][0] == pytest.approx(matthews, abs=1e-9)
    for value, low, high in found.values():
        assert -1 <= low <= value + ROUNDING
        assert value <= high + ROUNDING <= 1 + ROUNDING


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, p_CC = np.random.default_rng(0), np.array([[0.7, 0.1], [0.08, 0.12]])
    truth = (0.7 / 0.8 + 0.12 / 0.2) / 2
    hits = 0
    for _ in range(100):
        _, low, high = class_figures(rng.multinomial(400, p_CC.ravel()).reshape(2, 2))[
            "balanced accuracy"
        ]
        hits += low <= truth <= high
    assert 88 <= hits <= 99


def test_always_the_large_class_is_accurate_and_not_balanced():
    found = class_figures(np.array([[95, 0], [5, 0]]))
    assert found["balanced accuracy"][0] == 0.5
    assert found["macro F1"][0] == pytest.approx((2 * 95 / 195) / 2)
    assert recalls(np.array([[95, 0], [5, 0]]))[1][0] == 0


@settings(max_examples=8)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_figures_of_two_classes_are_those_of_glue(rows):
    """CoLA counts Matthews' correlation, MRPC and QQP the F1 of the positive class."""
    truth, predicted = zip(*rows, strict=True)
    counts_CC = np.zeros((2, 2), np.int64)
    np.add.at(counts_CC, (np.array(truth, int), np.array(predicted, int)), 1)
    found = class_figures(counts_CC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one class only
        f1 = sklearn.metrics.f1_score(truth, predicted, zero_division=0)
        matthews = sklearn.metrics.matthews_corrcoef(truth, predicted)
    assert found[POSITIVE][0] == pytest.approx(f1, abs=1e-9)
    assert found["Matthews correlation"][0] == pytest.approx(matthews, abs=1e-9)
