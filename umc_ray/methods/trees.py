"""Ensembles of decision trees as plain arrays: fitted by scikit-learn, stored without pickle.

Suffixes: N samples, D dimensions, C outputs, T trees, M nodes of all trees, W numbers of a node.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Arrays = Mapping[str, npt.NDArray[Any]]

PLACES = 2**18
"""Samples x trees that are followed at a time."""


@dataclass(frozen=True)
class Forest:
    """Trees whose values add up; the nodes of all trees stand one after another.

    A leaf is its own child. The values of tree t add to the outputs from `output_T[t]` on.
    """

    feature_M: Ints
    threshold_M: Floats  # a sample goes left if its feature is at most this
    left_M: Ints
    right_M: Ints
    missing_left_M: npt.NDArray[np.bool_]  # where a sample goes whose feature is NaN
    value_MW: Floats
    root_T: Ints
    output_T: Ints
    baseline_C: Floats

    def predict(self, x_ND: Floats) -> Floats:
        """Return the sums NC of the trees' values."""
        step = max(1, PLACES // max(1, len(self.root_T)))
        blocks = [self._sums(x_ND[i : i + step]) for i in range(0, len(x_ND), step)]
        return np.concatenate([np.empty((0, len(self.baseline_C)), np.float32), *blocks])

    def _sums(self, x_ND: Floats) -> Floats:
        sums_NC: Floats = np.tile(self.baseline_C, (len(x_ND), 1))
        if not len(self.root_T):
            return sums_NC
        value_NTW = self.value_MW[self._leaves(x_ND)]
        width = value_NTW.shape[2]
        for first in np.unique(self.output_T):
            mine = self.output_T == first
            sums_NC[:, first : first + width] += value_NTW[:, mine].sum(axis=1, dtype=np.float64)
        return sums_NC

    def _leaves(self, x_ND: Floats) -> Ints:
        """Follow all samples through all trees, one level at a time; returns leaves NT."""
        rows_N1 = np.arange(len(x_ND))[:, None]
        node_NT = np.tile(self.root_T, (len(x_ND), 1))
        while True:
            x_NT = x_ND[rows_N1, self.feature_M[node_NT]]
            goes_left_NT = x_NT <= self.threshold_M[node_NT]
            goes_left_NT |= np.isnan(x_NT) & self.missing_left_M[node_NT]
            next_NT = np.where(goes_left_NT, self.left_M[node_NT], self.right_M[node_NT])
            if np.array_equal(next_NT, node_NT):
                return next_NT
            node_NT = next_NT


@dataclass(frozen=True)
class _Tree:
    """One tree; children count from its own root, and a leaf has -1."""

    feature_M: npt.NDArray[Any]
    threshold_M: npt.NDArray[np.float64]
    left_M: npt.NDArray[Any]
    right_M: npt.NDArray[Any]
    missing_left_M: npt.NDArray[Any]
    value_MW: npt.NDArray[np.float64]
    output: int


def constant(baseline_C: npt.NDArray[Any]) -> Forest:
    """Return a forest without trees."""
    return _joined([], baseline_C, 1)


def from_boosting(
    model: Any,  # noqa: ANN401 - of scikit-learn
    outputs: Sequence[int] | npt.NDArray[np.integer],
    baseline_C: npt.NDArray[Any],
) -> Forest:
    """Take the trees of a HistGradientBoostingClassifier, or of a Regressor.

    Args:
        model: fitted, without categorical features.
        outputs: the output that each of its columns adds to.
        baseline_C: what outputs start from that are none of these.
    """
    baseline_C = np.array(baseline_C, np.float64)
    baseline_C[list(outputs)] = model._baseline_prediction.ravel()
    trees = [
        _boosted_tree(predictor.nodes, output)
        for iteration in model._predictors
        for predictor, output in zip(iteration, outputs, strict=True)
    ]
    return _joined(trees, baseline_C, 1)


def _boosted_tree(nodes: npt.NDArray[Any], output: int) -> _Tree:
    is_leaf_M = nodes["is_leaf"].astype(bool)
    return _Tree(
        feature_M=np.where(is_leaf_M, 0, nodes["feature_idx"]),
        threshold_M=nodes["num_threshold"],
        left_M=np.where(is_leaf_M, -1, nodes["left"].astype(np.int64)),
        right_M=np.where(is_leaf_M, -1, nodes["right"].astype(np.int64)),
        missing_left_M=nodes["missing_go_to_left"],
        value_MW=np.where(is_leaf_M, nodes["value"], 0.0)[:, None],
        output=output,
    )


def from_regressors(model: Any, n_outputs: int) -> Forest:  # noqa: ANN401 - of scikit-learn
    """Take the trees of an ExtraTreesRegressor or a RandomForestRegressor; their mean adds up."""
    trees = [_regression_tree(each.tree_, len(model.estimators_)) for each in model.estimators_]
    return _joined(trees, np.zeros(n_outputs), n_outputs)


def _regression_tree(tree: Any, n_trees: int) -> _Tree:  # noqa: ANN401 - of scikit-learn
    is_leaf_M = tree.children_left < 0
    return _Tree(
        feature_M=np.where(is_leaf_M, 0, tree.feature),
        threshold_M=tree.threshold,
        left_M=tree.children_left,
        right_M=tree.children_right,
        missing_left_M=tree.missing_go_to_left,
        value_MW=tree.value[:, :, 0] / n_trees * is_leaf_M[:, None],
        output=0,
    )


def together(forests: Sequence[Forest]) -> Forest:
    """Put forests side by side, the outputs of one after those of the one before."""
    first_output = np.cumsum([0, *(len(each.baseline_C) for each in forests)])
    first_node = np.cumsum([0, *(len(each.feature_M) for each in forests)])
    named: dict[str, npt.NDArray[Any]] = {}
    for name in Forest.__dataclass_fields__:
        parts = [getattr(each, name) for each in forests]
        if name in ("left_M", "right_M", "root_T"):
            parts = [part + first_node[i] for i, part in enumerate(parts)]
        if name == "output_T":
            parts = [part + first_output[i] for i, part in enumerate(parts)]
        named[name] = np.concatenate(parts).astype(parts[0].dtype)
    return Forest(**named)


def _joined(trees: Sequence[_Tree], baseline_C: npt.NDArray[Any], width: int) -> Forest:
    sizes = [len(tree.feature_M) for tree in trees]
    roots = np.cumsum([0, *sizes])[:-1]
    left, right = (_children(trees, roots, name) for name in ("left_M", "right_M"))
    return Forest(
        feature_M=_concatenated((tree.feature_M for tree in trees), np.int32),
        threshold_M=_concatenated((_not_above(tree.threshold_M) for tree in trees), np.float32),
        left_M=left,
        right_M=right,
        missing_left_M=_concatenated((tree.missing_left_M for tree in trees), np.bool_),
        value_MW=np.concatenate([np.empty((0, width)), *(tree.value_MW for tree in trees)]).astype(
            np.float32
        ),
        root_T=roots.astype(np.int32),
        output_T=np.array([tree.output for tree in trees], np.int32),
        baseline_C=baseline_C.astype(np.float32),
    )


def _children(trees: Sequence[_Tree], roots: npt.NDArray[Any], name: str) -> Ints:
    """Return the places of children among the nodes of all trees."""
    parts = []
    for tree, root in zip(trees, roots, strict=True):
        child_M = getattr(tree, name)
        parts.append(np.where(child_M < 0, np.arange(len(child_M)), child_M) + root)
    return _concatenated(parts, np.int32)


def _concatenated(parts: Any, dtype: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - arrays, a type
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)


def _not_above(threshold_M: npt.NDArray[np.float64]) -> Floats:
    """Round down to float32: the same float32 numbers are at most this."""
    with np.errstate(over="ignore"):
        rounded_M = threshold_M.astype(np.float32)
    below_M: Floats = np.nextafter(rounded_M, np.float32(-np.inf))
    return np.where(rounded_M > threshold_M, below_M, rounded_M)


def arrays_of(forest: Forest) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a forest by name."""
    return {name: getattr(forest, name) for name in Forest.__dataclass_fields__}
