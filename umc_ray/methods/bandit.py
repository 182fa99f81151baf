"""Split a labeling budget among domains: a bandit whose arms are the domains.

The order in a round: `observe` (how the current models see the arms) -> `shares` -> annotation ->
`update` (how often the models were wrong about the new labels). All are pure functions on a frozen
state that is stored as JSON.

The value of a label is not measured as a difference of accuracies: between two rounds, these
differences are smaller than their noise. Three quantities with little noise replace it:

- The mean uncertainty of the pool, over thousands of samples and without labels, is the prior of
  an arm.
- The error rate on the bought labels, before the model is trained on them, updates it. The slope
  of a learning curve grows like the third to fourth power of this rate: labels are bought where
  the model is least certain, and there even a good model is often wrong.
- An arm that cannot be learned loses its value. It is recognized by an uncertainty that neither
  falls with more labels nor predicts where the model is wrong.

Suffix: A arms.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from umc_ray.errors import ConfigError

FloatArray = npt.NDArray[np.float64]

OBJECTIVES = ("pooled", "macro", "worst")
FIXED_POLICIES = ("uniform", "proportional")  # they ignore the objective and the cost
LEARNING_POLICIES = ("gradient", "thompson", "ucb")
# Chosen on the development seeds of benchmarks/allocation.py.
SHARPNESS = 4.0  # value of a label = (error rate on bought labels) ** SHARPNESS
PRIOR_TRIALS = 20.0  # number of bought labels that weigh as much as the prior
DISCOUNT = 0.9  # weight of a round's evidence one round later: domains saturate
LEARNING_RATE = 2.0  # alpha of the gradient policy, theta per unit of error rate
DEFAULT_UNCERTAINTY = 0.5  # of an arm without a model when no arm has one
# An arm below both lower bounds counts as noise; one above either upper bound does not at all.
DECAY_RANGE = (0.04, 0.1)  # exponent b of uncertainty ~ labels ** -b
LIFT_RANGE = (1.2, 1.5)  # error rate on bought labels / mean uncertainty of the pool
DECAY_PRIOR = (0.2, 0.1)  # mean and standard deviation of b over domains
OVERCONFIDENT = 0.8  # the first uncertainty is ignored if below this share of the second
CURVE_NOISE = 0.15  # standard deviation of a measured log uncertainty from its curve
WORST_SCALE = 0.2  # an arm this much more accurate than the worst one gets weight 1/e


@dataclass(frozen=True)
class ArmContext:
    """The state of one arm ("task/domain") according to the current models and the pool."""

    name: str
    uncertainty: float | None  # pool mean of 1 - max p, calibrated; None without a model
    remaining: int  # samples without a label
    pool: int  # samples with and without a label
    cost: float  # per label, > 0
    accuracy: float | None  # latest unbiased estimate


@dataclass(frozen=True)
class Reward:
    """How the previous model did on the labels bought for one arm in one round."""

    arm: str
    errors: float  # of bought labels, how many the model not yet trained on them had wrong
    trials: int  # bought labels that it had a prediction for


@dataclass(frozen=True)
class ArmRecord:
    """The evidence about one arm so far."""

    theta: float  # preference of the gradient policy
    errors: float = 0.0  # discounted
    trials: float = 0.0  # discounted
    curve: tuple[tuple[float, float], ...] = ()  # (labels, uncertainty) per round


@dataclass(frozen=True)
class BanditState:
    """The memory of a policy; `step` counts the updates."""

    seed: int = 0
    step: int = 0
    mean_reward: float = 0.0  # over all arms and rounds
    rewards: int = 0
    arms: Mapping[str, ArmRecord] = field(default_factory=dict)


def observe(state: BanditState, arms: Sequence[ArmContext]) -> BanditState:
    """Record the uncertainty of each arm at its number of labels; vanished arms stay."""
    records = dict(state.arms)
    for arm in arms:
        record = _record(state, arm.name)
        labels = arm.pool - arm.remaining
        if arm.uncertainty is not None and labels > 0:
            record = replace(record, curve=(*record.curve, (float(labels), arm.uncertainty)))
        records[arm.name] = record
    return replace(state, arms=records)


def shares(
    policy: str, state: BanditState, arms: Sequence[ArmContext], objective: str
) -> FloatArray:
    """Split the next budget of labels among the arms.

    Returns `shares_A >= 0` that add up to 1, in the order of `arms`. An arm without remaining
    samples gets 0 (all zeros if no arm has any). Shares are of labels, not of money: all but the
    fixed policies weigh an arm by the objective and divide by its cost per label. The result
    depends on the state and the arms only.

    Raises:
        ConfigError: the policy or the objective does not exist.
    """
    _check("policy", policy, POLICIES)
    _check("objective", objective, OBJECTIVES)
    if not arms:
        return np.zeros(0)
    value_A = POLICIES[policy](state, arms)
    if policy not in FIXED_POLICIES:
        value_A = value_A * _objective_weights(arms, objective)
    if policy in LEARNING_POLICIES:
        value_A = value_A * [_learnability(_record(state, arm.name)) for arm in arms]
    value_A = np.where([arm.remaining > 0 for arm in arms], np.maximum(value_A, 1e-12), 0.0)
    total = value_A.sum()
    return value_A / total if total > 0 else value_A


def update(state: BanditState, rewards: Sequence[Reward]) -> BanditState:
    """Update the state with the rewards of one round.

    theta_t = theta_(t-1) + alpha (reward - mu). The reward is the error rate on the bought labels
    times the learnability of the arm; mu is its mean over all arms and rounds. The evidence of
    earlier rounds is discounted.
    """
    counted = [reward for reward in rewards if reward.trials > 0]
    gains = [
        _learnability(_record(state, reward.arm)) * reward.errors / reward.trials
        for reward in counted
    ]
    count = state.rewards + len(gains)
    mean = (state.mean_reward * state.rewards + sum(gains)) / max(count, 1)
    arms = {
        name: replace(record, errors=DISCOUNT * record.errors, trials=DISCOUNT * record.trials)
        for name, record in state.arms.items()
    }
    for reward, gain in zip(counted, gains, strict=True):
        record = arms.get(reward.arm, _record(state, reward.arm))
        arms[reward.arm] = replace(
            record,
            theta=record.theta + LEARNING_RATE * (gain - mean),
            errors=record.errors + reward.errors,
            trials=record.trials + reward.trials,
        )
    return replace(state, step=state.step + 1, mean_reward=mean, rewards=count, arms=arms)


def _gradient(state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    """Return exp(theta), scaled. Source: Sutton and Barto 2018, Reinforcement Learning, 2.8."""
    theta_A = np.array([_record(state, arm.name).theta for arm in arms])
    softmax_A: FloatArray = np.exp(theta_A - theta_A.max())
    return softmax_A


def _thompson(state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    """Sample the error rate of each arm from its posterior.

    A sample depends on the seed, the step and the name of the arm, not on the other arms.
    Source: Thompson 1933, On the Likelihood that One Unknown Probability Exceeds Another.
    """
    errors_A, trials_A = _posterior(state, arms)
    rate_A = [
        np.random.default_rng([state.seed, state.step, zlib.crc32(arm.name.encode())]).beta(
            errors, trials - errors
        )
        for arm, errors, trials in zip(arms, errors_A, trials_A, strict=True)
    ]
    value_A: FloatArray = np.power(rate_A, SHARPNESS)
    return value_A


def _ucb(state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    """Add half a posterior standard deviation to the error rate.

    Source: Garivier and Moulines 2011, On Upper-Confidence Bound Policies for Switching Bandits
    (discounted evidence); Kaufmann et al. 2012, On Bayesian Upper Confidence Bounds.
    """
    errors_A, trials_A = _posterior(state, arms)
    rate_A = errors_A / trials_A
    bound_A = np.minimum(rate_A + 0.5 * np.sqrt(rate_A * (1.0 - rate_A) / trials_A), 1.0)
    value_A: FloatArray = bound_A**SHARPNESS
    return value_A


POLICIES: Mapping[str, Callable[[BanditState, Sequence[ArmContext]], FloatArray]] = {
    "gradient": _gradient,
    "thompson": _thompson,
    "ucb": _ucb,
    "uniform": lambda _, arms: np.ones(len(arms)),
    "proportional": lambda _, arms: np.array([float(arm.remaining) for arm in arms]),
    "uncertainty": lambda _, arms: _uncertainty(arms),
}


def _uncertainty(arms: Sequence[ArmContext]) -> FloatArray:
    """Return the mean uncertainties; an arm without a model counts as the most uncertain arm."""
    known = [arm.uncertainty for arm in arms if arm.uncertainty is not None]
    unknown = max(known, default=DEFAULT_UNCERTAINTY)
    return np.array([unknown if arm.uncertainty is None else arm.uncertainty for arm in arms])


def _posterior(state: BanditState, arms: Sequence[ArmContext]) -> tuple[FloatArray, FloatArray]:
    """Return Beta counts of wrong labels and of all bought labels, 0 < errors < trials.

    With the prior alone, the value of an arm equals its uncertainty.
    """
    prior_A = np.clip(_uncertainty(arms), 1e-6, 1.0 - 1e-6) ** (1.0 / SHARPNESS)
    errors_A = np.array([_record(state, arm.name).errors for arm in arms])
    trials_A = np.array([_record(state, arm.name).trials for arm in arms])
    return errors_A + PRIOR_TRIALS * prior_A, trials_A + PRIOR_TRIALS


def _learnability(record: ArmRecord) -> float:
    """Return the factor in [0, 1] by which to scale the value of an arm; 0 if its labels are noise.

    Noisy labels show in two ways: the uncertainty does not fall as labels are added, and the model
    is no more often wrong where it is least certain. An arm with only one of these signs keeps its
    value.
    """
    decays = float(np.interp(_uncertainty_decay(record.curve), DECAY_RANGE, (0.0, 1.0)))
    if record.trials == 0.0 or not record.curve:
        return decays
    expected = max(float(np.mean([uncertainty for _, uncertainty in record.curve])), 1e-3)
    lift = record.errors / record.trials / expected
    return max(decays, float(np.interp(lift, LIFT_RANGE, (0.0, 1.0))))


def _uncertainty_decay(curve: Sequence[tuple[float, float]]) -> float:
    """Fit uncertainty ~ labels ** -b and return b, shrunk towards its mean over domains.

    The noise is estimated and shrunk as well, as if `CURVE_NOISE` had been observed three times.
    More labels do not make a domain harder. So a first point far below the second comes from an
    overconfident first model and is dropped.
    """
    mean, deviation = DECAY_PRIOR
    if len(curve) < 2:
        return mean
    if curve[0][1] < OVERCONFIDENT * curve[1][1]:
        curve = curve[1:]
    x, y = np.log(np.maximum(np.array(curve), 1e-3)).T
    x, y = x - x.mean(), y - y.mean()
    xx, xy, yy = max(float(x @ x), 1e-9), float(x @ y), float(y @ y)
    noise = (3 * CURVE_NOISE**2 + yy - xy**2 / xx) / (3 + len(curve))
    return (mean / deviation**2 - xy / noise) / (1.0 / deviation**2 + xx / noise)


def _record(state: BanditState, name: str) -> ArmRecord:
    """Return the record of an arm; a new arm starts with the highest preference so far."""
    if name in state.arms:
        return state.arms[name]
    return ArmRecord(theta=max((record.theta for record in state.arms.values()), default=0.0))


def _objective_weights(arms: Sequence[ArmContext], objective: str) -> FloatArray:
    """Return the weight of each arm under the objective, per unit of cost.

    pooled: the pool size. macro: equal weights. worst: exp(-lead / WORST_SCALE), where the lead is
    the accuracy above that of the worst arm.
    """
    if objective == "pooled":
        counts_A = np.array([float(arm.pool) for arm in arms])
    elif objective == "macro":
        counts_A = np.ones(len(arms))
    else:
        accuracy_A = _accuracy_estimates(arms)
        counts_A = np.exp((accuracy_A.min() - accuracy_A) / WORST_SCALE)
    weight_A: FloatArray = counts_A / np.array([arm.cost for arm in arms])
    return weight_A


def _accuracy_estimates(arms: Sequence[ArmContext]) -> FloatArray:
    """Average two estimates: the audit has no bias, 1 - uncertainty has little noise."""
    model_A = 1.0 - _uncertainty(arms)
    audits = [arm.accuracy for arm in arms]
    audit_A = [
        model if audit is None else audit for audit, model in zip(audits, model_A, strict=True)
    ]
    mean_A: FloatArray = (model_A + np.array(audit_A)) / 2.0
    return mean_A


def _check(kind: str, name: str, known: Mapping[str, object] | Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"allocation.{kind} is '{name}', but must be one of {', '.join(known)}")
