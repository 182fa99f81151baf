"""Trees as arrays, compared with scikit-learn's own predictions.

Suffixes: N samples, D dimensions, C outputs.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestRegressor,
)

from umc_ray.methods.trees import (
    Forest,
    _not_above,
    arrays_of,
    constant,
    from_boosting,
    from_regressors,
    together,
)


def samples(n=300, d=4, classes=3, seed=0, missing=0.1):
    rng = np.random.default_rng(seed)
    x_ND = rng.normal(size=(n, d)).astype(np.float32)
    scores_N = x_ND[:, 0] + x_ND[:, 1] * x_ND[:, 2] + rng.normal(size=n) / 3
    labels_N = np.searchsorted(np.quantile(scores_N, np.arange(1, classes) / classes), scores_N)
    x_ND[rng.random(x_ND.shape) < missing] = np.nan
    return x_ND, labels_N


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_boosted_trees_are_the_decision_function(classes, missing):
    x_ND, labels_N = samples(classes=classes, missing=missing)
    model = HistGradientBoostingClassifier(max_iter=15, max_leaf_nodes=6, random_state=0)
    model.fit(x_ND[:200], labels_N[:200])
    outputs = range(classes) if classes > 2 else [1]
    forest = from_boosting(model, outputs, np.zeros(classes))
    new_ND = np.vstack([x_ND, samples(seed=1, missing=0.5)[0], np.full((1, 4), np.nan)])
    found_NC = forest.predict(new_ND.astype(np.float32))
    expected = model.decision_function(new_ND)
    np.testing.assert_allclose(found_NC if classes > 2 else found_NC[:, 1], expected, atol=1e-5)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("family", [ExtraTreesRegressor, RandomForestRegressor])
def test_regression_trees_are_their_mean(family, missing):
    x_ND, labels_N = samples(missing=missing)
    model = family(7, random_state=0).fit(x_ND, np.eye(3)[labels_N])
    forest = from_regressors(model, 3)
    new_ND = np.vstack([x_ND, samples(seed=1, missing=missing)[0]])
    np.testing.assert_allclose(forest.predict(new_ND), model.predict(new_ND), atol=1e-6)


def test_blocks_of_samples_do_not_change_the_sums(monkeypatch):
    x_ND, labels_N = samples()
    model = ExtraTreesRegressor(5, random_state=0).fit(x_ND, np.eye(3)[labels_N])
    forest = from_regressors(model, 3)
    whole_NC = forest.predict(x_ND)
    monkeypatch.setattr("umc_ray.methods.trees.PLACES", 35)
    np.testing.assert_array_equal(forest.predict(x_ND), whole_NC)
    assert forest.predict(x_ND[:0]).shape == (0, 3)


def test_a_forest_without_trees_is_its_baseline():
    forest = constant(np.array([0.5, -np.inf]))
    assert forest.predict(np.zeros((2, 3), np.float32)).tolist() == [[0.5, -np.inf]] * 2


def test_forests_side_by_side_keep_their_sums():
    x_ND, labels_N = samples()
    parts = [constant(np.array([0.25]))]
    for label in (0, 2):
        model = HistGradientBoostingClassifier(max_iter=4, random_state=0)
        parts.append(from_boosting(model.fit(x_ND, labels_N == label), [0], np.zeros(1)))
    found_NC = together(parts).predict(x_ND)
    for column_N, part in zip(found_NC.T, parts, strict=True):
        np.testing.assert_array_equal(column_N, part.predict(x_ND)[:, 0])


def test_a_tree_by_hand():
    forest = Forest(
        feature_M=np.array([1, 0, 0], np.int32),
        threshold_M=np.array([0.5, 0, 0], np.float32),
        left_M=np.array([1, 1, 2], np.int32),
        right_M=np.array([2, 1, 2], np.int32),
        missing_left_M=np.array([False, False, False]),
        value_MW=np.array([[0], [10], [20]], np.float32),
        root_T=np.array([0], np.int32),
        output_T=np.array([1], np.int32),
        baseline_C=np.array([1, 2], np.float32),
    )
    x_ND = np.array([[9, 0.5], [0, 0.6], [0, np.nan]], np.float32)
    assert forest.predict(x_ND).tolist() == [[1, 12], [1, 22], [1, 22]]
    assert list(arrays_of(forest)) == list(Forest.__dataclass_fields__)


@given(st.floats(-1e30, 1e30), st.sampled_from([-np.inf, 0, np.inf]))
def test_a_rounded_threshold_has_the_same_numbers_below(threshold, towards):
    rounded = _not_above(np.array([threshold]))[0]
    nearest = np.float32(threshold)
    for number in (nearest, np.nextafter(nearest, np.float32(towards))):
        assert (number <= rounded) == (float(number) <= threshold)
