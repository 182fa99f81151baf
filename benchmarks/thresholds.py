"""A peer of benchmarks/fairness.py: fairlearn's thresholds by group, fitted after training.

Source: Hardt, Price and Srebro 2016, Equality of Opportunity in Supervised Learning.

Suffixes: N samples to fit, M samples to predict, C classes.
"""

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from umc_ray.records import FloatArray, IntArray


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """A model whose probabilities are known: its inputs are they."""

    classes_ = np.array([0, 1])

    def fit(self, probs_NC: FloatArray, targets_N: IntArray) -> "Given":
        """Do nothing."""
        return self

    def predict_proba(self, probs_NC: FloatArray) -> npt.NDArray[np.float64]:
        """Return the inputs, as fairlearn can use them."""
        return probs_NC.astype(np.float64)

    def __sklearn_is_fitted__(self) -> bool:
        """Say that it can predict."""
        return True


def group_thresholds(
    probs_NC: FloatArray,
    targets_N: IntArray,
    groups_N: IntArray,
    test_probs_MC: FloatArray,
    test_groups_M: IntArray,
) -> npt.NDArray[np.int64]:
    """Predict M samples by thresholds of groups that equalize odds on N samples.

    Groups with one class among the N, for which fairlearn fails, count as the largest one.
    """
    from fairlearn.postprocessing import ThresholdOptimizer  # optional peer

    groups = int(max(groups_N.max(), test_groups_M.max())) + 1
    both_G = [len(np.unique(targets_N[groups_N == group])) == 2 for group in range(groups)]
    largest = np.bincount(groups_N, minlength=groups).argmax()
    code_G = np.where(both_G, np.arange(groups), largest)
    optimizer = ThresholdOptimizer(
        estimator=Given(), constraints="equalized_odds", prefit=True, predict_method="predict_proba"
    )
    optimizer.fit(probs_NC, targets_N, sensitive_features=code_G[groups_N])
    predicted_M = optimizer.predict(
        test_probs_MC, sensitive_features=code_G[test_groups_M], random_state=0
    )
    return np.asarray(predicted_M, np.int64)
