"""The strategies of the label efficiency benchmark: those of the product, and peers from libraries.

All peers get the same features, the same fitted probe and the same first batch. Strategies of the
product may choose their own first batch, as they do in a campaign. Peers are imported only when
they run; install them with the extra `bench`.

Suffixes: P samples of the pool, F free ones, L labeled ones, D features, C classes, B batch.
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
FIRST_CANDIDATES = 1000  # minimum number of candidates for the first batch


@dataclass(frozen=True)
class State:
    """The input of a strategy; `probe` is fitted on the labels so far."""

    x_PD: Floats
    labeled_L: IntArray
    answers_L: IntArray
    free_F: IntArray
    probs_FC: Floats | None  # None before there are labels
    probe: Any
    batch: int
    seed: int


Strategy = Callable[[State], IntArray]
"""Maps a state to B free rows of the pool."""


def drawn(state: State) -> IntArray:
    """Draw a random batch; the first one is the same for all strategies that use it."""
    order_F = np.random.default_rng([state.seed, len(state.labeled_L)]).permutation(state.free_F)
    return order_F[: state.batch]


def ours(strategy: str, cold: str = "herding") -> Strategy:
    """Return a strategy of the product: a diverse first batch, then uncertain candidates."""

    def choose(state: State) -> IntArray:
        if state.probs_FC is None:
            size = max(FIRST_CANDIDATES, PER_LABEL * state.batch)
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
    """Return 1 - margin."""
    top_F2 = np.partition(probs_FC, -2, axis=1)[:, -2:]
    margin_F: Floats = 1 - (top_F2[:, 1] - top_F2[:, 0])
    return margin_F


def after_a_draw(choose: Strategy) -> Strategy:
    """Return a strategy that starts with the common random batch."""
    return lambda state: drawn(state) if state.probs_FC is None else choose(state)


def skactiveml(name: str) -> Strategy:
    """Return a strategy of scikit-activeml (Kottke et al. 2021)."""

    def choose(state: State) -> IntArray:
        from skactiveml import pool  # optional peer
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
        rows: IntArray = strategy.query(
            state.x_PD, y_P, candidates=state.free_F, batch_size=state.batch, **known
        )
        return rows

    return after_a_draw(choose)


def small_text(name: str) -> Strategy:
    """Return a strategy of small-text (Schroeder et al. 2023)."""

    def choose(state: State) -> IntArray:
        import small_text  # optional peer

        class Probe:
            def predict_proba(self, dataset: Any) -> Floats:  # noqa: ANN401
                probs: Floats = state.probe.predict_proba(dataset.x)
                return probs

        y_P = np.zeros(len(state.x_PD), np.int64)
        dataset = small_text.SklearnDataset(state.x_PD, y_P)
        more = {} if name == "BreakingTies" else {"embeddings": state.x_PD, "pbar": None}
        np.random.seed(state.seed)  # the library draws from the global generator
        rows: IntArray = getattr(small_text, name)().query(
            Probe(), dataset, state.free_F, state.labeled_L, state.answers_L, state.batch, **more
        )
        return rows

    return after_a_draw(choose)


def modal_margin(state: State) -> IntArray:
    """Pick the smallest margins with modAL (Danka and Horvath 2018)."""
    from modAL.uncertainty import margin_sampling  # optional peer

    rows: IntArray = margin_sampling(state.probe, state.x_PD[state.free_F], state.batch)[0]
    return state.free_F[rows]


def baal_power(state: State) -> IntArray:
    """Draw with odds by the entropy, with baal (Atighehchian et al. 2022)."""
    from baal.active.heuristics import Entropy  # optional peer
    from baal.active.heuristics.stochastics import PowerSampling

    np.random.seed(state.seed)  # the library draws from the global generator
    assert state.probs_FC is not None
    heuristic = PowerSampling(Entropy(), query_size=state.batch)
    ranks: IntArray = heuristic.get_ranks(state.probs_FC[:, :, None])[0]
    return state.free_F[ranks]


def active_lab(state: State) -> IntArray:
    """Pick the unlabeled samples with the lowest ActiveLab scores (cleanlab)."""
    from cleanlab.multiannotator import get_active_learning_scores  # optional peer

    assert state.probs_FC is not None
    votes_L1 = np.searchsorted(state.probe.classes_, state.answers_L)[:, None]
    probs_LC = state.probe.predict_proba(state.x_PD[state.labeled_L])
    _, scores_F = get_active_learning_scores(votes_L1, probs_LC, state.probs_FC)
    lowest: IntArray = np.argsort(scores_F, kind="stable")[: state.batch]
    return state.free_F[lowest]


STRATEGIES: dict[str, Strategy] = {
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
# Top margin counts as a peer too.
PEERS = ("top", *(name for name in STRATEGIES if " " in name))
