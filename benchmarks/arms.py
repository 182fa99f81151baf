"""The arms of the label efficiency benchmark: our strategies, and peers called as libraries.

All peers get what ours get: the same features, the same fitted probe, the same first batch (ours
may choose it, as the product does). Peers are imported only where they run: the extra `bench`.

Suffixes: P samples of the pool, F of them free, L labeled, D features, C classes, B batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from umc_ray.config.campaign import SelectionConfig
from umc_ray.methods.scoring import top_m
from umc_ray.methods.selection import Candidates, select

IntArray = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

PER_LABEL = SelectionConfig().candidates_per_label
COLD = 1000  # samples that at least compete for the first batch


@dataclass(frozen=True)
class State:
    """What a strategy may look at before it buys a batch; `probe` is fitted on the labels."""

    x_PD: Floats
    labeled_L: IntArray
    answers_L: IntArray
    free_F: IntArray
    probs_FC: Floats | None  # None before there are labels
    probe: Any
    batch: int
    seed: int


DomainKey = Callable[[State], IntArray]
"""From a state to B rows of the pool that are free."""


def drawn(state: State) -> IntArray:
    """Draw a batch at random: the same first batch for every arm that takes it."""
    order_F = np.random.default_rng([state.seed, len(state.labeled_L)]).permutation(state.free_F)
    return order_F[: state.batch]


def ours(strategy: str, cold: str = "herding") -> DomainKey:
    """Do what the product does: a diverse first batch, then one out of the least certain."""

    def choose(state: State) -> IntArray:
        if state.probs_FC is None:
            size = max(COLD, PER_LABEL * state.batch)
            rows = np.random.default_rng([state.seed, 1]).permutation(state.free_F)[:size]
            return rows[_select(cold, state, rows, np.zeros(len(rows), np.float32), None)]
        margin_F = informativeness(state.probs_FC)
        best = top_m(margin_F, state.free_F, PER_LABEL * state.batch)
        rows, probs = state.free_F[best], state.probs_FC[best]
        return rows[_select(strategy, state, rows, margin_F[best], probs)]

    return choose


def _select(
    strategy: str,
    state: State,
    rows: IntArray,
    acquisition: Floats,
    probs: Floats | None,
) -> npt.NDArray[np.intp]:
    pool = Candidates(rows, acquisition, state.x_PD[rows], probs)
    return select(
        strategy,
        pool,
        state.batch,
        seed=state.seed,
        labeled_embeddings=state.x_PD[state.labeled_L],
        labeled_answers=state.answers_L,
    )


def informativeness(probs_FC: Floats) -> Floats:
    """Give 1 - margin."""
    top_F2 = np.partition(probs_FC, -2, axis=1)[:, -2:]
    margin_F: Floats = 1 - (top_F2[:, 1] - top_F2[:, 0])
    return margin_F


def after_a_draw(choose: DomainKey) -> DomainKey:
    """Begin with the common random batch."""
    return lambda state: drawn(state) if state.probs_FC is None else choose(state)


def skactiveml(name: str) -> DomainKey:
    """Call a strategy of scikit-activeml (Kottke et al. 2021)."""

    def choose(state: State) -> IntArray:
        from skactiveml import pool  # a peer: only where it runs
        from skactiveml.classifier import SklearnClassifier

        y_P = np.full(len(state.x_PD), np.nan)
        y_P[state.labeled_L] = state.answers_L
        model = SklearnClassifier(state.probe, classes=state.probe.classes_).fit(state.x_PD, y_P)
        known = (
            {"estimator": model, "fit_estimator": False}
            if name == "Clue"
            else {"clf": model, "fit_clf": False}
        )
        strategy = getattr(pool, name)(random_state=state.seed)
        found: IntArray = strategy.query(
            state.x_PD, y_P, candidates=state.free_F, batch_size=state.batch, **known
        )
        return found

    return after_a_draw(choose)


def small_text(name: str) -> DomainKey:
    """Call a strategy of small-text (Schroeder et al. 2023)."""

    def choose(state: State) -> IntArray:
        import small_text  # a peer: only where it runs

        class Probe:
            def predict_proba(self, dataset: Any) -> Floats:  # noqa: ANN401
                probs: Floats = state.probe.predict_proba(dataset.x)
                return probs

        y_P = np.zeros(len(state.x_PD), np.int64)
        dataset = small_text.SklearnDataset(state.x_PD, y_P)
        more = {} if name == "BreakingTies" else {"embeddings": state.x_PD, "pbar": None}
        np.random.seed(state.seed)  # the library draws from the global generator
        found: IntArray = getattr(small_text, name)().query(
            Probe(), dataset, state.free_F, state.labeled_L, state.answers_L, state.batch, **more
        )
        return found

    return after_a_draw(choose)


def modal_margin(state: State) -> IntArray:
    """Ask where the margin is least with modAL (Danka and Horvath 2018)."""
    from modAL.uncertainty import margin_sampling  # a peer: only where it runs

    rows: IntArray = margin_sampling(state.probe, state.x_PD[state.free_F], state.batch)[0]
    return state.free_F[rows]


def baal_power(state: State) -> IntArray:
    """Draw in proportion to the entropy with baal (Atighehchian et al. 2022)."""
    from baal.active.heuristics import Entropy  # a peer: only where it runs
    from baal.active.heuristics.stochastics import PowerSampling

    np.random.seed(state.seed)  # the library draws from the global generator
    assert state.probs_FC is not None
    heuristic = PowerSampling(Entropy(), query_size=state.batch)
    ranks: IntArray = heuristic.get_ranks(state.probs_FC[:, :, None])[0]
    return state.free_F[ranks]


def active_lab(state: State) -> IntArray:
    """Ask where cleanlab's ActiveLab scores lowest among samples without a label."""
    from cleanlab.multiannotator import get_active_learning_scores  # a peer: only where it runs

    assert state.probs_FC is not None
    votes_L1 = np.searchsorted(state.probe.classes_, state.answers_L)[:, None]
    probs_LC = state.probe.predict_proba(state.x_PD[state.labeled_L])
    _, scores_F = get_active_learning_scores(votes_L1, probs_LC, state.probs_FC)
    lowest: IntArray = np.argsort(scores_F, kind="stable")[: state.batch]
    return state.free_F[lowest]


ARMS: dict[str, DomainKey] = {
    "random": drawn,
    "top": after_a_draw(ours("top")),
    "adaptive": ours("adaptive"),
    "cluster": ours("cluster"),
    "uncertainty_herding": ours("uncertainty_herding"),
    "badge": ours("badge"),
    "herding": ours("herding"),
    "typical": ours("typical", cold="typical"),
    "kcenter": ours("kcenter"),
    "power": after_a_draw(ours("power")),
    "rare": ours("rare"),
    "skactiveml falcun": skactiveml("Falcun"),
    "skactiveml clue": skactiveml("Clue"),
    "skactiveml badge": skactiveml("Badge"),
    "small-text breaking ties": small_text("BreakingTies"),
    "small-text lightweight coreset": small_text("LightweightCoreset"),
    "modal margin": after_a_draw(modal_margin),
    "baal power entropy": after_a_draw(baal_power),
    "cleanlab activelab": after_a_draw(active_lab),
}
# The plain margin is a peer too.
PEERS = ("top", *(name for name in ARMS if " " in name))
