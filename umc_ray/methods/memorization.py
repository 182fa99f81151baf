"""Whether synthetic samples are copies of real ones, or like none of them.

Suffixes: N synthetic samples, R real samples, H held-out ones, D dimension, S spaces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from umc_ray.methods.coverage import squared_distances

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

FALSE_ALARMS = 0.04
"""Share of held-out real samples that the guard takes for copies; of other sets, up to .07."""

OUTLIERS = 0.99
"""Quantile of the real samples' distances to each other from which a sample is like none."""

MAX_HELD_OUT = 2000
_BLOCK = 1024


@dataclass(frozen=True)
class Nearest:
    """The nearest real sample, and the distances to it and to the second nearest one."""

    rows_N: npt.NDArray[np.int64]
    first_N: Floats
    second_N: Floats

    @classmethod
    def of(cls, x_ND: Floats, real_RD: Floats, own_N: npt.NDArray[np.int64] | None = None) -> Self:
        """Compare with two or more real samples; `own_N` are rows that are not compared with.

        Raises:
            ValueError: fewer than two real samples are left to compare with.
        """
        if len(real_RD) < (2 if own_N is None else 3):
            raise ValueError(f"need two real samples beside the own one, found {len(real_RD)}")
        two_N2 = np.empty((len(x_ND), 2), np.int64)
        for start in range(0, len(x_ND), _BLOCK):
            rows = slice(start, start + _BLOCK)
            squares_BR = squared_distances(x_ND[rows], real_RD)
            if own_N is not None:
                squares_BR[np.arange(len(squares_BR)), own_N[rows]] = np.inf
            two_N2[rows] = np.argpartition(squares_BR, 1, axis=1)[:, :2]
        # Squares of near points have rounding errors as large as themselves: these are exact.
        pairs = [np.linalg.norm(x_ND - real_RD[rows_N], axis=1) for rows_N in two_N2.T]
        order_2N = np.argsort(pairs, axis=0)
        first_N, second_N = np.take_along_axis(np.stack(pairs), order_2N, axis=0)
        nearest_N = np.take_along_axis(two_N2, order_2N[:1].T, axis=1)[:, 0]
        return cls(nearest_N, first_N, second_N)

    @property
    def ratio_N(self) -> Floats:
        """First by second distance, 0..1: 0 for an exact copy, near 1 for a sample of its own."""
        ratio_N: Floats = np.where(
            self.first_N > 1e-6, self.first_N / np.maximum(self.second_N, 1e-12), 0
        ).astype(np.float32)
        return ratio_N


@dataclass(frozen=True)
class MemorizationGuard:
    """Finds copies of real samples, in one or several spaces such as embeddings and pixels.

    A copy is much nearer to one real sample than to any other. How much is normal, the real samples
    themselves say: each of them is compared with the others. A sample is a copy if one of the
    spaces says so; their limits are such that all of them together take `FALSE_ALARMS` of the real
    samples for copies.

    Source: Yoon et al. 2023, Diffusion Probabilistic Models Generalize When They Fail to Memorize
    (the ratio of the two nearest distances); Meehan et al. 2020, A Non-Parametric Test to Detect
    Data-Copying in Generative Models (held-out samples say what is normal).
    """

    real_SRD: tuple[Floats, ...]
    limits_S: tuple[float, ...]

    @classmethod
    def fit(cls, real_SRD: Sequence[Floats], *, seed: int = 0) -> Self:
        """Find the limits on at most `MAX_HELD_OUT` of three or more real samples.

        Raises:
            ValueError: there are fewer.
        """
        n = len(real_SRD[0])
        held_H = np.sort(np.random.default_rng(seed).permutation(n)[:MAX_HELD_OUT])
        ratios_SH = [Nearest.of(x_RD[held_H], x_RD, held_H).ratio_N for x_RD in real_SRD]
        return cls(tuple(real_SRD), joint_limits(np.stack(ratios_SH)))

    def copy_ratio(self, x_SND: Sequence[Floats]) -> Floats:
        """Return the ratio of distances by its limit, least over the spaces: copies are below 1."""
        by_limit_SN = [
            Nearest.of(x_ND, real_RD).ratio_N / max(limit, 1e-12)
            for x_ND, real_RD, limit in zip(x_SND, self.real_SRD, self.limits_S, strict=True)
        ]
        least_N: Floats = np.min(by_limit_SN, axis=0)
        return least_N


def joint_limits(ratios_SH: Floats) -> tuple[float, ...]:
    """Return a limit per space, at one quantile of each, that `FALSE_ALARMS` of all fall below.

    A sample falls below if it does in any of the spaces.
    """
    n = ratios_SH.shape[1]
    ranks_SH = np.argsort(np.argsort(ratios_SH, axis=1), axis=1)
    first_H = np.sort(ranks_SH.min(axis=0))
    level = int(first_H[int(FALSE_ALARMS * n)])  # so many of a space's ratios lie below its limit
    return tuple(float(each) for each in np.sort(ratios_SH, axis=1)[:, level])


def distance_to_reals(x_ND: Floats, real_RD: Floats, *, seed: int = 0) -> tuple[Floats, float]:
    """Return how far samples are from the nearest real one, and from where one is like none.

    Both in units of the median distance of real samples to the nearest other one.

    Raises:
        ValueError: there are fewer than three real samples.
    """
    held_H = np.sort(np.random.default_rng(seed).permutation(len(real_RD))[:MAX_HELD_OUT])
    own_H = Nearest.of(real_RD[held_H], real_RD, held_H).first_N
    unit = max(float(np.median(own_H)), 1e-12)
    distance_N: Floats = Nearest.of(x_ND, real_RD).first_N / np.float32(unit)
    return distance_N, float(np.quantile(own_H, OUTLIERS)) / unit
