"""Share a labeling budget among domains: a bandit whose arms are the domains.

A round goes `observe` (the arms as the current models see them) -> `shares` -> people label ->
`update` (how often the models were wrong about the labels that were bought). All are pure
functions on a frozen state that is stored as JSON.

What a label is worth is not read off differences of accuracies: between two rounds they are
smaller than their noise. Three quantities with little noise stand in for it:

- the pool's mean uncertainty, over thousands of samples and without a label, starts the arm;
- the share of bought labels that the model had wrong, before it learned from them, moves it. The
  slope of a learning curve grows like the third to fourth power of this share, because labels are
  bought where the model is least certain, and there even a good model is often wrong;
- whether the uncertainty falls at all, and whether it knows where the model is wrong, closes an arm
  that cannot be learned.

Suffix: A arms.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from umc_ray.errors import ConfigError

FloatArray = npt.NDArray[np.float64]

OBJECTIVES = ("pooled", "macro", "worst")
PLAIN = ("uniform", "proportional")  # these know neither objective nor cost
LEARNING = ("gradient", "thompson", "ucb")
# Chosen on the development seeds of benchmarks/allocation.py.
SHARPNESS = 4.0  # value of a label = (share of bought labels the model had wrong) ** SHARPNESS
PRIOR_TRIALS = 20.0  # bought labels that weigh as much as the pool's uncertainty
DISCOUNT = 0.9  # weight of a round's evidence one round later: domains saturate
LEARNING_RATE = 2.0  # alpha of the gradient policy, theta per unit of error rate
UNKNOWN = 0.5  # uncertainty of an arm without a model when no arm has one
# An arm below the first numbers of both is taken for noise; one above a second is not at all.
FALL = (0.04, 0.1)  # exponent b of uncertainty ~ labels ** -b
LIFT = (1.2, 1.5)  # how many times as often the bought labels are wrong as the pool's uncertainty
FALLS = (0.2, 0.1)  # mean and deviation of b over domains
TOO_SURE = 0.8  # first uncertainty, of the second, below which it is not believed
FALL_NOISE = 0.15  # deviation of one measured log uncertainty from its curve
WORST_SCALE = 0.2  # accuracy by which an arm must lead the worst to count 1/e of it


@dataclass(frozen=True)
class ArmContext:
    """What the current models and the pool say about one arm ("task/domain")."""

    name: str
    uncertainty: float | None  # pool mean of 1 - max p, calibrated; None before there is a model
    remaining: int  # samples without a label
    pool: int  # samples with and without a label
    cost: float  # per label, > 0
    accuracy: float | None  # latest unbiased estimate


@dataclass(frozen=True)
class Reward:
    """What the labels bought for one arm in one round taught."""

    arm: str
    errors: float  # of bought labels, how many the model from before they were bought had wrong
    trials: int  # bought labels that this model had an answer for


@dataclass(frozen=True)
class ArmRecord:
    """What is remembered of one arm."""

    theta: float  # preference of the gradient policy
    errors: float = 0.0  # discounted
    trials: float = 0.0  # discounted
    curve: tuple[tuple[float, float], ...] = ()  # (labels, uncertainty), a pair for each round


@dataclass(frozen=True)
class BanditState:
    """Everything that a policy remembers; `step` counts the updates."""

    seed: int = 0
    step: int = 0
    mean_reward: float = 0.0  # over all arms and rounds
    rewards: int = 0
    arms: Mapping[str, ArmRecord] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give the state as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "BanditState":
        """Rebuild the state that `to_json` gave."""
        arms = {
            name: ArmRecord(**{**record, "curve": tuple(map(tuple, record["curve"]))})
            for name, record in value["arms"].items()
        }
        return cls(**{**value, "arms": arms})


def observe(state: BanditState, arms: Sequence[ArmContext]) -> BanditState:
    """Write down how uncertain each arm is at its number of labels; vanished arms stay."""
    seen = dict(state.arms)
    for arm in arms:
        record = _record(state, arm.name)
        labels = arm.pool - arm.remaining
        if arm.uncertainty is not None and labels > 0:
            record = replace(record, curve=(*record.curve, (float(labels), arm.uncertainty)))
        seen[arm.name] = record
    return replace(state, arms=seen)


def shares(
    policy: str, state: BanditState, arms: Sequence[ArmContext], objective: str
) -> FloatArray:
    """Split the next budget of labels among the arms.

    Returns `shares_A >= 0` with sum 1, in the order of `arms`; 0 for an arm without samples left
    (all zeros when no arm has any). Shares are of labels, not of money: a policy that is not plain
    weighs an arm by what the objective counts and divides by its cost per label. The same state
    and arms give the same shares.

    Raises:
        ConfigError: for a policy or an objective that does not exist.
    """
    _check("policy", policy, POLICIES)
    _check("objective", objective, OBJECTIVES)
    if not arms:
        return np.zeros(0)
    value_A = POLICIES[policy](state, arms)
    if policy not in PLAIN:
        value_A = value_A * _weights(arms, objective)
    if policy in LEARNING:
        value_A = value_A * [_worth(_record(state, arm.name)) for arm in arms]
    value_A = np.where([arm.remaining > 0 for arm in arms], np.maximum(value_A, 1e-12), 0.0)
    total = value_A.sum()
    return value_A / total if total > 0 else value_A


def update(state: BanditState, rewards: Sequence[Reward]) -> BanditState:
    """Learn from one round's rewards.

    theta_t = theta_(t-1) + alpha (reward - mu), where the reward is the share of bought labels that
    the model had wrong, as far as the arm can be learned, and mu is its mean over arms and rounds.
    Evidence of earlier rounds ages.
    """
    counted = [reward for reward in rewards if reward.trials > 0]
    gains = [_worth(_record(state, each.arm)) * each.errors / each.trials for each in counted]
    seen = state.rewards + len(gains)
    mean = (state.mean_reward * state.rewards + sum(gains)) / max(seen, 1)
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
    return replace(state, step=state.step + 1, mean_reward=mean, rewards=seen, arms=arms)


def _gradient(state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    """Take the softmax of theta. Source: Sutton and Barto 2018, Reinforcement Learning, 2.8."""
    theta_A = np.array([_record(state, arm.name).theta for arm in arms])
    softmax_A: FloatArray = np.exp(theta_A - theta_A.max())
    return softmax_A


def _thompson(state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    """Draw each arm's error rate from its posterior.

    The draw depends on the seed, the step and the arm's name, not on which other arms there are.
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
    """Take the error rate plus half a posterior deviation.

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
    """Take the pools' uncertainty; before there is a model, that of the most uncertain arm."""
    known = [arm.uncertainty for arm in arms if arm.uncertainty is not None]
    unknown = max(known, default=UNKNOWN)
    return np.array([unknown if arm.uncertainty is None else arm.uncertainty for arm in arms])


def _posterior(state: BanditState, arms: Sequence[ArmContext]) -> tuple[FloatArray, FloatArray]:
    """Give Beta counts of wrong and of all bought labels, 0 < errors < trials.

    The prior makes the value of an arm its uncertainty: all that is known without labels.
    """
    prior_A = np.clip(_uncertainty(arms), 1e-6, 1.0 - 1e-6) ** (1.0 / SHARPNESS)
    errors_A = np.array([_record(state, arm.name).errors for arm in arms])
    trials_A = np.array([_record(state, arm.name).trials for arm in arms])
    return errors_A + PRIOR_TRIALS * prior_A, trials_A + PRIOR_TRIALS


def _worth(record: ArmRecord) -> float:
    """Give the part of its value that an arm keeps, in [0, 1], given that it may be mere noise.

    Noise in the labels has two marks: the uncertainty does not fall as labels are added, and where
    the model is least certain it is no more often wrong than elsewhere. An arm with only one of
    them keeps its value.
    """
    falls = float(np.interp(_fall(record.curve), FALL, (0.0, 1.0)))
    if record.trials == 0.0 or not record.curve:
        return falls
    doubt = max(float(np.mean([uncertainty for _, uncertainty in record.curve])), 1e-3)
    return max(falls, float(np.interp(record.errors / record.trials / doubt, LIFT, (0.0, 1.0))))


def _fall(curve: Sequence[tuple[float, float]]) -> float:
    """Fit uncertainty ~ labels ** -b, with b shrunken to what it is in other domains.

    The noise is estimated too, and shrunken likewise: as if `FALL_NOISE` had been seen thrice. More
    labels do not make a domain harder: a first point far below the second is of models too sure of
    themselves, and tells nothing.
    """
    mean, deviation = FALLS
    if len(curve) < 2:
        return mean
    if curve[0][1] < TOO_SURE * curve[1][1]:
        curve = curve[1:]
    x, y = np.log(np.maximum(np.array(curve), 1e-3)).T
    x, y = x - x.mean(), y - y.mean()
    xx, xy, yy = max(float(x @ x), 1e-9), float(x @ y), float(y @ y)
    noise = (3 * FALL_NOISE**2 + yy - xy**2 / xx) / (3 + len(curve))
    return (mean / deviation**2 - xy / noise) / (1.0 / deviation**2 + xx / noise)


def _record(state: BanditState, name: str) -> ArmRecord:
    """Find what is remembered of an arm; one that is new is preferred as much as the best."""
    if name in state.arms:
        return state.arms[name]
    return ArmRecord(theta=max((record.theta for record in state.arms.values()), default=0.0))


def _weights(arms: Sequence[ArmContext], objective: str) -> FloatArray:
    """Weigh the arms by what the objective counts, per unit of cost.

    pooled: by pool size. macro: equally. worst: by exp(-lead / WORST_SCALE), the lead being the
    accuracy above that of the worst arm.
    """
    if objective == "pooled":
        counts_A = np.array([float(arm.pool) for arm in arms])
    elif objective == "macro":
        counts_A = np.ones(len(arms))
    else:
        accuracy_A = _accuracy(arms)
        counts_A = np.exp((accuracy_A.min() - accuracy_A) / WORST_SCALE)
    weight_A: FloatArray = counts_A / np.array([arm.cost for arm in arms])
    return weight_A


def _accuracy(arms: Sequence[ArmContext]) -> FloatArray:
    """Give the mean of two estimates: the audit's has no bias, 1 - uncertainty little noise."""
    sure_A = 1.0 - _uncertainty(arms)
    known = [arm.accuracy for arm in arms]
    audit_A = [sure if acc is None else acc for acc, sure in zip(known, sure_A, strict=True)]
    mean_A: FloatArray = (sure_A + np.array(audit_A)) / 2.0
    return mean_A


def _check(kind: str, name: str, known: Mapping[str, object] | Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"allocation.{kind}: '{name}' asked for, there is {', '.join(known)}")
