"""Does the bandit over actions switch off what cannot help, and find what does?

    python -m benchmarks.refill_policy [--quick] [--check] [--repeats 100]

Simulated campaigns of eight rounds with 50 labels each, in which two things are lacking. What a
label of each action gains over one of the plain selection is known, differs between the two, and
falls with the labels that went there. What the bandit sees has noise of the size that
benchmarks/refill_reward.py measures on real sets: by heads with and without the samples, or by
audits. Beside it: each action alone with half of the labels, all in equal parts, nothing, and the
best arm for each thing in hindsight. Gains are in points of recall, of which a unit of log-loss has
34 (same measurement).

Suffixes: G things that are lacking, A actions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from benchmarks.frame import Figure, Options, Report, main
from umc_ray.methods.refill import MOST, Arm, Trial, decide
from umc_ray.methods.with_without import Gain

ROUNDS, LABELS, LACKING = 8, 50, 60
ACTIONS = ("search", "transforms", "language_model")
SETTINGS: Mapping[str, tuple[float, float, float]] = {
    "search pays": (0.0023, -0.0012, -0.0012),
    "a generator pays": (-0.0005, -0.0012, 0.0040),
    "all pay": (0.0023, 0.0015, 0.0040),
    "little pays": (0.0005, -0.0012, 0.0),
    "nothing pays": (-0.0010, -0.0012, -0.0012),
}
"""Log-loss that a label of each action gains over a plain one: see benchmarks/refill_reward.py."""

APART = 0.0005  # standard deviation of an action's gains from one thing to the other
FADES = 25.0  # labels of an action for one thing that give two thirds of what it can give
KEPT = 0.5  # of a measurement's noise that the next one has, too
POINTS = 34.0
NOISE = {"held out": 0.04, "100 audits": 0.15, "40 audits": 0.235}
"""Standard deviation of a measured difference of log-loss, however many labels made it.

Of audits: that of the difference of two accuracies of .85, by POINTS.
"""


@dataclass
class World:
    """A simulated campaign: what each arm gains, and what was spent on it."""

    gain_GA: np.ndarray
    noise: float
    rng: np.random.Generator
    points: float = 0.0

    def __post_init__(self) -> None:
        """Begin with nothing spent."""
        self.cost_GA, self.brought_GA, self.rounds_GA = (np.zeros_like(self.gain_GA) for _ in "123")
        self.noise_GA = self.rng.normal(size=self.gain_GA.shape)

    def play(self, shares_GA: np.ndarray) -> None:
        """Spend a round's labels."""
        cost_GA = np.floor(shares_GA * LABELS + 1e-9)
        left_GA = np.exp(-self.cost_GA / FADES)
        gained_GA = FADES * self.gain_GA * left_GA * (1 - np.exp(-cost_GA / FADES))
        self.cost_GA += cost_GA
        self.rounds_GA += cost_GA > 0
        self.brought_GA += gained_GA
        self.points += POINTS * float(gained_GA.sum())
        fresh_GA = self.rng.normal(size=cost_GA.shape)
        self.noise_GA = KEPT * self.noise_GA + np.sqrt(1 - KEPT**2) * fresh_GA

    def trials(self) -> dict[tuple[str, str], Trial]:
        """Return what each arm has shown."""
        return {
            (f"gap {g}", action): Trial(int(self.rounds_GA[g, a]), self._measured(g, a))
            for g in range(len(self.gain_GA))
            for a, action in enumerate(ACTIONS)
        }

    def _measured(self, g: int, a: int) -> Gain | None:
        cost, g_all = float(self.cost_GA[:, a].sum()), len(self.cost_GA)
        if not cost:
            return None
        noise = self.noise * g_all**0.5  # each thing is judged by its own samples
        value = g_all * self.brought_GA[g, a] + noise * self.noise_GA[g, a]
        return Gain(float(value / cost), noise / cost, cost)


Shares = Callable[[World, int], np.ndarray]
"""From a world and the number of a round to the share GA of the labels."""


class Bandit:
    """The product's policy on a simulated campaign."""

    def __init__(self) -> None:
        self.arms: list[Arm] = []

    def __call__(self, world: World, number: int) -> np.ndarray:
        """Decide about a round."""
        missing = {f"gap {g}": float(LACKING) for g in range(len(world.gain_GA))}
        self.arms = decide(self.arms, missing, ACTIONS, world.trials(), number, seed=0)
        shares = {(arm.lack, arm.action): arm.share for arm in self.arms}
        return np.array([[shares[lack, action] for action in ACTIONS] for lack in missing])


def run(options: Options) -> Report:
    """Play all settings with all policies."""
    runs = 20 if options.quick else options.repeats
    table, figures = _table(), dict[str, Figure]()
    for setting in SETTINGS:
        alone = {action: _mean_points(setting, _alone(a), runs) for a, action in enumerate(ACTIONS)}
        best = max(0.0, *alone.values())
        for name in NOISE:
            off, points = _with_bandit(setting, name, runs)
            key = f"{name}/{setting}".replace(" ", "_")
            figures[f"below_best_single/{key}"] = Figure("points", [best - points])
            if off is not None:
                figures[f"off/{key}"] = Figure("share of runs", [off])
            cells = [f"{points:+.2f}", "" if off is None else f"{off:.0%}"]
            table.add_row(setting, name, *cells, *_others(setting, alone, runs))
    return Report({"runs": runs, "rounds": ROUNDS, "labels": LABELS}, figures, tables=[table])


def _table() -> Table:
    table = Table(title="points gained over the plain selection, means over runs")
    names = ("setting", "reward", "bandit", "hopeless ones off in time", *ACTIONS)
    for name in (*names, "in equal parts", "in hindsight"):
        table.add_column(name)
    return table


def _mean_points(setting: str, policy: Shares, runs: int) -> float:
    return float(np.mean([_play(setting, seed, policy).points for seed in range(runs)]))


def _others(setting: str, alone: Mapping[str, float], runs: int) -> list[str]:
    policies = (_in_equal_parts, _in_hindsight)
    means = [_mean_points(setting, each, runs) for each in policies]
    return [f"{each:+.2f}" for each in (*alone.values(), *means)]


def _with_bandit(setting: str, reward: str, runs: int) -> tuple[float | None, float]:
    """Return how often generators that cannot help are off in time, and the mean gain.

    In time: no arm of theirs was tried in more than two rounds.
    """
    hopeless = [a for a, gain in enumerate(SETTINGS[setting]) if a and gain < 0]
    worlds = [_play(setting, seed, Bandit(), NOISE[reward]) for seed in range(runs)]
    off = [bool((world.rounds_GA[:, hopeless] <= 2).all()) for world in worlds]
    return float(np.mean(off)) if hopeless else None, float(np.mean([w.points for w in worlds]))


def _play(setting: str, seed: int, policy: Shares, noise: float = 0.0) -> World:
    rng = np.random.default_rng([seed, 7])
    gain_GA = np.array(SETTINGS[setting]) + APART * rng.normal(size=(2, len(ACTIONS)))
    world = World(gain_GA, noise, rng)
    for number in range(1, ROUNDS + 1):
        world.play(policy(world, number))
    return world


def _alone(action: int) -> Shares:
    def shares(world: World, _: int) -> np.ndarray:
        shares_GA = np.zeros_like(world.gain_GA)
        shares_GA[:, action] = MOST / len(shares_GA)
        return shares_GA

    return shares


def _in_equal_parts(world: World, _: int) -> np.ndarray:
    return np.full_like(world.gain_GA, MOST / world.gain_GA.size)


def _in_hindsight(world: World, _: int) -> np.ndarray:
    best_G = world.gain_GA.argmax(1)
    shares_GA = np.zeros_like(world.gain_GA)
    shares_GA[np.arange(len(best_G)), best_G] = MOST / len(best_G)
    return shares_GA * (world.gain_GA > 0)


if __name__ == "__main__":
    main("refill_policy", __doc__, run, repeats=100)
