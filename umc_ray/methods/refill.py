"""Decide how a domain's gaps are filled: which action gets what share of a round, and which is off.

An arm is an action on one thing that is lacking (a pattern of the pool, a rare class): to search
the pool for it, or to have a generator make samples that people validate. To leave the labels to
the plain selection is the arm "nothing", whose gain is zero by definition: all others are measured
against it (methods/with_without.py), per unit of cost.

1. What is believed of an arm: its measurement, shrunk to what the same action gave elsewhere.
2. Whether it stays: the burden of proof is its own. After two rounds it must surely pay, or it is
   off until twice as much is lacking. One action is on trial at a time, the first one first: a
   trial that is split among several proves nothing of any.
3. What it gets: the chance that it is the best of those that are on, nothing among them.

Suffixes: G things that are lacking, A arms, R random draws.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from umc_ray.methods.with_without import Gain

Floats = npt.NDArray[np.float64]

SEARCH = "search"
MOST = 0.5  # share of a round's labels that all arms together get
TRIAL_ROUNDS = 2
PROVEN = 0.6  # chance of a gain above zero from which a search pays: its labels are real ones
PROVEN_SYNTHETIC = 0.9  # ... from which synthetic samples pay: most of them do not
HOPELESS = 0.2  # ... below which an arm is off after one round already
CHANGED = 2.0  # an arm is tried again when this much more is lacking
# Chosen on benchmarks/refill_policy.py, in log-loss per label.
SPREAD = 0.003  # standard deviation of actions' gains
BETWEEN = 0.0005  # ... and of one action's gains around its mean, from one thing to another
DRAWS = 1000

State = Literal["waits", "on trial", "pays", "off"]
ON = ("on trial", "pays")


@dataclass(frozen=True)
class Trial:
    """What an arm has shown: in how many rounds it brought samples, and their gain, if measured."""

    rounds: int
    gain: Gain | None


@dataclass(frozen=True)
class Arm:
    """What is decided about an action for something that is lacking, and why.

    `gain` and `error` are what is believed of its gain per unit of cost over the plain selection:
    mean and standard deviation. `share` is that of a round's labels.
    """

    lack: str
    action: str
    missing: float  # labels, when its trial began
    since: int  # round in which its trial began
    state: State = "waits"
    share: float = 0.0
    rounds: int = 0
    cost: float = 0.0
    gain: float = 0.0
    error: float = SPREAD

    @property
    def chance(self) -> float:
        """The chance that it gains more than the plain selection."""
        return 0.5 * (1 + math.erf(self.gain / self.error / math.sqrt(2)))


def decide(
    before: Sequence[Arm],
    missing: Mapping[str, float],
    actions: Sequence[str],
    trials: Mapping[tuple[str, str], Trial],
    number: int,
    seed: int,
) -> list[Arm]:
    """Decide about the arms of a domain for a round.

    Args:
        before: what was decided for the round before.
        missing: how many labels of each thing are lacking.
        actions: in the order in which they are tried.
        trials: by thing and action.
        number: of the round.
        seed: of the random draws.
    """
    known = {(arm.lack, arm.action): arm for arm in before}
    arms: list[Arm] = []
    for action in actions:
        own = [
            _continued(known.get((lack, action)), lack, action, n, number)
            for lack, n in missing.items()
        ]
        shown = [trials.get((arm.lack, action), Trial(0, None)) for arm in own]
        beliefs = believe([each.gain for each in shown])
        arms += [_judged(*each, number) for each in zip(own, shown, beliefs, strict=True)]
    return _with_shares(_one_trial(arms, actions), missing, seed + number)


def _continued(arm: Arm | None, lack: str, action: str, missing: float, number: int) -> Arm:
    """Return an arm as it was, or a new one, also where what is lacking has changed."""
    again = arm is not None and arm.state == "off" and missing >= CHANGED * arm.missing
    if arm is None or arm.state == "waits" or again:
        return Arm(lack, action, missing, number)
    return arm


def believe(gains: Sequence[Gain | None]) -> list[tuple[float, float]]:
    """Return mean and standard deviation of an action's gain for each thing that is lacking.

    The gains are spread around the action's mean, and actions' means around zero. What was not
    measured is known by what the action gives elsewhere.

    Source: Gelman et al. 2013, Bayesian Data Analysis, 5.4 (normal hierarchical model).
    """
    values_G = np.array([0.0 if each is None else each.value for each in gains])
    errors_G = np.array([np.inf if each is None else each.error for each in gains])
    weights_G = 1 / (BETWEEN**2 + errors_G**2)
    precision = 1 / SPREAD**2 + weights_G.sum()
    mean = float(weights_G @ values_G / precision)
    own_G = BETWEEN**2 * weights_G  # how far a measurement counts beside the mean
    means_G = own_G * values_G + (1 - own_G) * mean
    deviations_G = np.sqrt((1 - own_G) * BETWEEN**2 + (1 - own_G) ** 2 / precision)
    return list(zip(means_G.tolist(), deviations_G.tolist(), strict=True))


def _judged(arm: Arm, trial: Trial, belief: tuple[float, float], number: int) -> Arm:
    """Say whether an arm pays, by what it has shown; one that is off keeps its figures.

    A trial that brings nothing ends as well.
    """
    if arm.state == "off":
        return replace(arm, share=0.0)
    cost = 0.0 if trial.gain is None else trial.gain.cost
    arm = replace(arm, rounds=trial.rounds, cost=cost, gain=belief[0], error=belief[1])
    state: State = "on trial"
    if arm.rounds and arm.chance >= (PROVEN if arm.action == SEARCH else PROVEN_SYNTHETIC):
        state = "pays"
    elif (
        arm.rounds >= TRIAL_ROUNDS
        or number - arm.since > TRIAL_ROUNDS
        or (arm.rounds and arm.chance < HOPELESS)
    ):
        state = "off"
    return replace(arm, state=state, share=0.0)


def _one_trial(arms: Sequence[Arm], actions: Sequence[str]) -> list[Arm]:
    """Leave one action on trial; the others wait for it."""
    tried = {arm.action for arm in arms if arm.state == "on trial"}
    first = next((action for action in actions if action in tried), None)
    return [
        replace(arm, state="waits") if arm.state == "on trial" and arm.action != first else arm
        for arm in arms
    ]


def _with_shares(arms: Sequence[Arm], missing: Mapping[str, float], seed: int) -> list[Arm]:
    """Split the labels among things by how much is lacking, then among the arms of each.

    An arm gets the chance that it is the best one, as if arms were drawn by it.

    Source: Thompson 1933, On the likelihood that one unknown probability exceeds another.
    """
    rng = np.random.default_rng(seed)
    total, shared = sum(missing.values()), list(arms)
    for lack, n in missing.items():
        rows = [i for i, arm in enumerate(arms) if arm.lack == lack and arm.state in ON]
        if rows:
            own = [arms[row] for row in rows]
            size = (DRAWS, len(rows))
            draws_RA = rng.normal([arm.gain for arm in own], [arm.error for arm in own], size)
            best_A = np.bincount(draws_RA.argmax(1), minlength=len(rows)) / DRAWS
            for row, chance in zip(rows, best_A.tolist(), strict=True):
                shared[row] = replace(arms[row], share=MOST * n / total * chance)
    return shared
