"""Share a labeling budget among domains: a bandit whose arms are the domains.

A policy turns what is known about the arms into shares of the next budget. Rounds go
`observe` (the arms as the model sees them) -> `shares` -> people label -> `update` (what the
bought labels taught). All are pure functions on a frozen state that is stored as JSON.

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
LEARNING_RATE = 0.5  # alpha of the gradient policy, in units of theta per unit of error rate
PRIOR_TRIALS = 50.0  # labels that the pool's uncertainty counts for against bought labels
DISCOUNT = 0.7  # weight of a round's evidence one round later: domains saturate
UNKNOWN = 0.5  # error rate of an arm without a model when no other arm has one either
WORST_SCALE = 0.05  # accuracy by which an arm must trail for e times the weight


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
    errors: int  # bought labels that the model from before they were bought got wrong
    trials: int  # bought labels that were predicted before they were bought
    gain: float | None = None  # change of the arm's accuracy estimate


@dataclass(frozen=True)
class ArmRecord:
    """What is remembered of one arm."""

    theta: float = 0.0
    errors: float = 0.0  # discounted
    trials: float = 0.0  # discounted


@dataclass(frozen=True)
class BanditState:
    """Everything that a policy remembers; `step` counts the updates."""

    seed: int = 0
    step: int = 0
    mean_reward: float = 0.0  # running mean over all arms and rounds
    rewards_seen: int = 0
    arms: Mapping[str, ArmRecord] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give the state as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "BanditState":
        """Rebuild the state that `to_json` gave."""
        arms = {name: ArmRecord(**record) for name, record in value["arms"].items()}
        return cls(**{**value, "arms": arms})


def shares(
    policy: str, state: BanditState, arms: Sequence[ArmContext], objective: str
) -> FloatArray:
    """Split the next budget of labels among the arms.

    Returns `shares_A >= 0` with sum 1, in the order of `arms`; 0 for an arm without samples left
    (all zeros when no arm has any). Labels of a dear arm count for less: each policy but
    `uniform` and `proportional` divides by the cost per label, so a share is of labels, not money.
    The same state and arms give the same shares.

    Raises:
        ConfigError: for a policy or an objective that does not exist.
    """
    _check(policy, POLICIES)
    _check(objective, OBJECTIVES)
    if not arms:
        return np.zeros(0)
    values_A = POLICIES[policy](state, arms)
    if policy not in ("uniform", "proportional"):
        values_A = values_A * _weights(arms, objective)
    values_A = np.where([arm.remaining > 0 for arm in arms], np.maximum(values_A, 1e-12), 0.0)
    total = values_A.sum()
    return values_A / total if total > 0 else values_A


def update(policy: str, state: BanditState, rewards: Sequence[Reward]) -> BanditState:
    """Learn from one round's rewards; arms without a reward keep their record, but it ages."""
    _check(policy, POLICIES)
    arms = {name: _aged(record) for name, record in state.arms.items()}
    mean, seen = state.mean_reward, state.rewards_seen
    counted = [reward for reward in rewards if reward.trials > 0]
    for reward in counted:
        seen += 1
        mean += (reward.errors / reward.trials - mean) / seen
    for reward in counted:
        record = arms.get(reward.arm, ArmRecord())
        arms[reward.arm] = ArmRecord(
            theta=record.theta + LEARNING_RATE * (reward.errors / reward.trials - mean),
            errors=record.errors + reward.errors,
            trials=record.trials + reward.trials,
        )
    return replace(state, step=state.step + 1, mean_reward=mean, rewards_seen=seen, arms=arms)


def _uniform(_state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    return np.ones(len(arms))


def _proportional(_state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    return np.array([float(arm.remaining) for arm in arms])


def _uncertainty(_state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    """Give the pool's mean 1 - max p: a label-free estimate of the error rate.

    An arm without a model is taken to be as uncertain as the most uncertain arm.
    """
    known = [arm.uncertainty for arm in arms if arm.uncertainty is not None]
    unknown = max(known, default=UNKNOWN)
    return np.array([unknown if arm.uncertainty is None else arm.uncertainty for arm in arms])


def _gradient(state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    """Softmax of theta. Source: Sutton and Barto 2018, Reinforcement Learning, section 2.8."""
    best = max((record.theta for record in state.arms.values()), default=0.0)
    theta_A = np.array([_record(state, arm, ArmRecord(theta=best)).theta for arm in arms])
    exp_A: FloatArray = np.exp(theta_A - theta_A.max())
    return exp_A


def _posterior(state: BanditState, arms: Sequence[ArmContext]) -> tuple[FloatArray, FloatArray]:
    """Give errors and trials per arm: discounted evidence on top of the uncertainty as prior."""
    records = [_record(state, arm, ArmRecord()) for arm in arms]
    errors_A = np.array([record.errors for record in records])
    trials_A = np.array([record.trials for record in records])
    return errors_A + PRIOR_TRIALS * _uncertainty(state, arms), trials_A + PRIOR_TRIALS


def _thompson(state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    """Draw each arm's error rate from its Beta posterior.

    The draw depends on the seed, the step and the arm's name, not on which other arms there are.
    Source: Thompson 1933; Russo et al. 2018, A Tutorial on Thompson Sampling.
    """
    errors_A, trials_A = _posterior(state, arms)
    draws = [
        np.random.default_rng([state.seed, state.step, zlib.crc32(arm.name.encode())]).beta(
            max(errors, 1e-3), max(trials - errors, 1e-3)
        )
        for arm, errors, trials in zip(arms, errors_A, trials_A, strict=True)
    ]
    return np.array(draws)


def _ucb(state: BanditState, arms: Sequence[ArmContext]) -> FloatArray:
    """Error rate plus its confidence radius under discounted evidence.

    Source: Garivier and Moulines 2011, On Upper-Confidence Bound Policies for Switching Bandits.
    """
    errors_A, trials_A = _posterior(state, arms)
    radius_A = np.sqrt(0.5 * np.log(trials_A.sum()) / trials_A)
    bound_A: FloatArray = errors_A / trials_A + radius_A
    return bound_A


POLICIES: Mapping[str, Callable[[BanditState, Sequence[ArmContext]], FloatArray]] = {
    "gradient": _gradient,
    "thompson": _thompson,
    "ucb": _ucb,
    "uniform": _uniform,
    "proportional": _proportional,
    "uncertainty": _uncertainty,
}


def _weights(arms: Sequence[ArmContext], objective: str) -> FloatArray:
    """Weigh the arms by what the objective counts, per unit of cost.

    pooled: by pool size. macro: equally. worst: an arm that trails the best by `WORST_SCALE` of
    accuracy counts e times as much; without an accuracy, 1 - uncertainty stands in.
    """
    cost_A = np.array([arm.cost for arm in arms])
    if objective == "pooled":
        return np.array([float(arm.pool) for arm in arms]) / cost_A
    if objective == "macro":
        return np.reciprocal(cost_A)
    accuracy_A = np.array([_accuracy(arm) for arm in arms])
    weight_A: FloatArray = np.exp((accuracy_A.min() - accuracy_A) / WORST_SCALE) / cost_A
    return weight_A


def _accuracy(arm: ArmContext) -> float:
    if arm.accuracy is not None:
        return arm.accuracy
    return 1.0 - (UNKNOWN if arm.uncertainty is None else arm.uncertainty)


def _record(state: BanditState, arm: ArmContext, first: ArmRecord) -> ArmRecord:
    return state.arms.get(arm.name, first)


def _aged(record: ArmRecord) -> ArmRecord:
    return replace(record, errors=DISCOUNT * record.errors, trials=DISCOUNT * record.trials)


def _check(name: str, known: Mapping[str, object] | Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"allocation: '{name}' asked for, there is {', '.join(known)}")
