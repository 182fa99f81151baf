"""Specialists that are decision trees over embeddings, made for those of tables.

Two kinds of trees are tried, gradient boosting and extremely randomized trees. The one whose
held-out outputs have the lower loss is kept: boosting suits a few classes that single columns tell
apart, randomized trees suit many classes (benchmarks/tables.py).

Source: Geurts, Ernst and Wehenkel 2006, Extremely Randomized Trees; Ke et al. 2017, LightGBM.

Suffixes: N samples, D embedding dimension, C outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load, save
from torch import Tensor

from umc_ray.config.specialist import SpecialistConfig
from umc_ray.methods.identity import fingerprint
from umc_ray.methods.numbers import START_VARIANCE, to_outputs
from umc_ray.methods.trees import (
    Forest,
    arrays_of,
    constant,
    from_boosting,
    from_regressors,
    together,
)
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.specialist import Examples, FitJob, FitReport
from umc_ray.storage import Storage
from umc_ray.tasks.task import Targets, TaskKind

WEIGHTS = "model.safetensors"
ABOUT = "trees.json"

Method = Literal["boosting", "randomized"]

BOOSTED_OUTPUTS = 3
"""Boosting grows trees for each class: with more of them it takes seconds a fit, and loses."""

BOOSTING: Mapping[str, Any] = {
    "learning_rate": 0.05,
    "max_iter": 150,
    "max_bins": 32,
    "max_leaf_nodes": 5,
    "min_samples_leaf": 5,
    "max_features": 0.2,
    "l2_regularization": 3.0,
    "early_stopping": False,
}
RANDOMIZED: Mapping[str, Any] = {"n_estimators": 100, "max_features": "sqrt"}

SMOOTHING = 1e-3
"""Added to each probability: trees say 0 of a class that they have not seen."""

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Outputs are compared as they are after calibration, roughly."""


@dataclass(frozen=True)
class Trees:
    """Trees, and how their sums become probabilities."""

    dimensions: Mapping[str, int]
    method: Method
    is_exclusive: bool  # one label a sample; else each label is judged for itself
    forest: Forest
    is_number: bool = False  # in place of labels: the sums are a mean and what its variance is

    @property
    def group(self) -> object:
        """The encoders: members of one group read the same embeddings."""
        return tuple(self.dimensions.items())

    @classmethod
    def fit(
        cls, job: FitJob, examples: Examples, weights_N: FloatArray, folds_N: IntArray, device: str
    ) -> tuple[Self, FloatArray, FitReport]:
        """Fit trees of each kind on a CPU, and keep the kind that predicts held-out samples best.

        In a process group each process does all of the work, and so has the same model.
        """
        features = {name: examples.features[name] for name in job.specialist.encoders}
        data = _Data(
            np.concatenate(list(features.values()), axis=1),
            examples.targets,
            job.training_weights(examples, weights_N),
            folds_N,
        )
        judging_N = examples.judging(weights_N)
        tries = [_cross_validated(method, job, data, judging_N) for method in _methods(job.kind)]
        loss, method, held_out_NC = min(tries, key=lambda each: each[0])
        model = cls(
            dimensions={name: each_ND.shape[1] for name, each_ND in features.items()},
            method=method,
            is_exclusive=data.is_exclusive,
            forest=_grown(method, job, data),
            is_number=data.is_number,
        )
        arrays = arrays_of(model.forest).values()
        weights = fingerprint([float(np.nan_to_num(each).sum(dtype=float)) for each in arrays])
        return model, held_out_NC, FitReport(loss=loss, penalty=None, weights=weights)

    @classmethod
    def load(cls, config: SpecialistConfig, storage: Storage, folder: str) -> Self:
        """Load stored trees."""
        about = storage.read_json(f"{folder}/{ABOUT}")
        return cls(**about, forest=Forest(**load(storage.read_bytes(f"{folder}/{WEIGHTS}"))))

    def save(self, storage: Storage, folder: str) -> None:
        """Store the trees."""
        about = {
            "dimensions": dict(self.dimensions),
            "method": self.method,
            "is_exclusive": self.is_exclusive,
            "is_number": self.is_number,
        }
        storage.write_json(f"{folder}/{ABOUT}", about)
        storage.write_bytes(f"{folder}/{WEIGHTS}", save(arrays_of(self.forest)))

    def outputs(self, x_ND: FloatArray) -> FloatArray:
        """Return outputs NC; NaN for a sample that has no embedding."""
        outputs_NC = _outputs_of(
            self.method, self.is_exclusive, self.is_number, self.forest.predict(x_ND)
        )
        outputs_NC[np.isnan(x_ND).all(axis=1)] = np.nan
        return outputs_NC

    @staticmethod
    def together(members: Sequence["Trees"]) -> Callable[[Tensor], Tensor]:
        """Return the outputs of one member after the other."""
        return lambda x_ND: torch.stack(
            [torch.from_numpy(member.outputs(x_ND.numpy())) for member in members]
        )


@dataclass(frozen=True)
class _Data:
    """What trees learn from."""

    x_ND: FloatArray
    targets: Targets
    weights_N: FloatArray
    folds_N: IntArray

    def __len__(self) -> int:
        """Return N."""
        return len(self.x_ND)

    @property
    def is_exclusive(self) -> bool:
        """Whether targets are class numbers, not a 0 or 1 for each label."""
        return self.targets.ndim == 1 and not self.is_number

    @property
    def is_number(self) -> bool:
        """Whether targets are numbers that are to be predicted themselves."""
        return self.targets.ndim == 1 and self.targets.dtype.kind == "f"

    def only(self, rows_N: npt.NDArray[np.bool_]) -> "_Data":
        """Return some of the samples."""
        return _Data(
            self.x_ND[rows_N], self.targets[rows_N], self.weights_N[rows_N], self.folds_N[rows_N]
        )


def _methods(kind: TaskKind) -> tuple[Method, ...]:
    """Return the kinds of trees to try."""
    return ("boosting", "randomized") if kind.outputs <= BOOSTED_OUTPUTS else ("randomized",)


def _cross_validated(
    method: Method, job: FitJob, data: _Data, judging_N: FloatArray
) -> tuple[float, Method, FloatArray]:
    """Return the held-out loss of a kind of trees, and its held-out outputs."""
    outputs_NC = np.empty((len(data), job.kind.outputs), np.float32)
    for fold in np.unique(data.folds_N):
        held_out_N = data.folds_N == fold
        forest = _grown(method, job, data.only(~held_out_N))
        sums_NC = forest.predict(data.x_ND[held_out_N])
        outputs_NC[held_out_N] = _outputs_of(method, data.is_exclusive, data.is_number, sums_NC)
    targets, weights_N = torch.tensor(data.targets), torch.tensor(judging_N)
    scaled_MNC = torch.from_numpy(_rescaled(outputs_NC, data.is_number))
    losses_M = job.kind.loss(scaled_MNC, targets) @ weights_N / weights_N.sum()
    return float(losses_M.min()), method, outputs_NC


def _grown(method: Method, job: FitJob, data: _Data) -> Forest:
    """Grow trees on some samples, of which there may be none."""
    n_outputs = job.kind.outputs
    if data.is_number:
        return _grown_for_numbers(method, data, job.seed)
    if not len(data):
        return constant(np.full(n_outputs, 1 / n_outputs if method == "randomized" else 0.0))
    if method == "randomized":
        return _randomized(data, n_outputs, job.seed)
    if data.is_exclusive:
        return _boosted_classes(data, n_outputs, job.seed)
    return together([_boosted_label(data, label, job.seed) for label in range(n_outputs)])


def _grown_for_numbers(method: Method, data: _Data, seed: int) -> Forest:
    """Grow trees for E[y] and E[y^2] or, boosted, for the mean, with the variance of its errors."""
    if not len(data):
        return constant(np.array([0.0, START_VARIANCE]))
    if method == "randomized":
        targets_N2 = np.stack([data.targets, data.targets**2], axis=1)
        return _randomized(replace(data, targets=targets_N2), 2, seed)
    from sklearn.ensemble import HistGradientBoostingRegressor  # a second to import

    model = HistGradientBoostingRegressor(**BOOSTING, random_state=seed)
    model.fit(data.x_ND, data.targets, sample_weight=data.weights_N)
    off_N = model.predict(data.x_ND) - data.targets
    variance = np.average(off_N**2, weights=data.weights_N)
    return from_boosting(model, [0], np.array([0.0, variance]))


def _randomized(data: _Data, n_outputs: int, seed: int) -> Forest:
    """Grow randomized trees; the variance of one-hot targets is the Gini impurity."""
    from sklearn.ensemble import ExtraTreesRegressor  # a second to import

    one_hot = np.eye(n_outputs)[data.targets] if data.is_exclusive else data.targets
    model = ExtraTreesRegressor(**RANDOMIZED, random_state=seed)
    model.fit(data.x_ND, one_hot, sample_weight=data.weights_N)
    return from_regressors(model, n_outputs)


def _boosted_classes(data: _Data, n_outputs: int, seed: int) -> Forest:
    """Boost trees for the classes that there are; of two, for the second against the first."""
    classes = np.unique(data.targets)
    baseline_C = np.full(n_outputs, -np.inf)
    baseline_C[classes[0]] = 0.0
    if len(classes) == 1:
        return constant(baseline_C)
    model = _boosting(data, data.targets, seed)
    return from_boosting(model, classes if len(classes) > 2 else classes[1:], baseline_C)


def _boosted_label(data: _Data, label: int, seed: int) -> Forest:
    """Boost trees for one label against its absence."""
    has_label_N = data.targets[:, label] > 0
    count, n = int(has_label_N.sum()), len(data)
    if count in (0, n):
        return constant(np.log([(count + 0.5) / (n - count + 0.5)]))
    return from_boosting(_boosting(data, has_label_N, seed), [0], np.zeros(1))


def _boosting(data: _Data, targets_N: Targets, seed: int) -> Any:  # noqa: ANN401 - of scikit-learn
    from sklearn.ensemble import HistGradientBoostingClassifier  # a second to import

    model = HistGradientBoostingClassifier(**BOOSTING, random_state=seed)
    return model.fit(data.x_ND, targets_N, sample_weight=data.weights_N)


def _rescaled(outputs_NC: FloatArray, is_number: bool) -> FloatArray:
    """Return outputs MNC as they may be after calibration: logits, or a variance, times a scale."""
    if not is_number:
        return np.stack([outputs_NC * np.float32(scale) for scale in SCALES])
    shifts_M2 = np.outer(np.log(SCALES), [0, 1]).astype(np.float32)
    shifted_MNC: FloatArray = outputs_NC + shifts_M2[:, None]
    return shifted_MNC


def _outputs_of(
    method: Method, is_exclusive: bool, is_number: bool, sums_NC: FloatArray
) -> FloatArray:
    if not is_number:
        return _outputs(method, is_exclusive, sums_NC)
    mean_N, second_N = sums_NC.astype(np.float64).T
    return to_outputs(mean_N, second_N - mean_N**2 if method == "randomized" else second_N)


def _outputs(method: Method, is_exclusive: bool, sums_NC: FloatArray) -> FloatArray:
    """Turn the sums of trees into outputs as a head has them: logits, up to a constant."""
    from scipy.special import expit, log_softmax  # a moment that most processes are spared

    probs_NC = np.clip(sums_NC, 0.0, 1.0)
    if method == "boosting":
        probs_NC = np.exp(log_softmax(sums_NC, axis=1)) if is_exclusive else expit(sums_NC)
    outputs_NC = np.log(probs_NC + SMOOTHING)
    if not is_exclusive:
        outputs_NC -= np.log(1 - probs_NC + SMOOTHING)
    return np.asarray(outputs_NC, np.float32)
