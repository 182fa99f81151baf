"""How good predictions are: the figures of a domain, with 95 % intervals."""

from dataclasses import dataclass, field

from umc_ray.methods.calibration import Reliability


@dataclass(frozen=True)
class Estimate:
    """A share, a correlation, an error, or a difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """What predictions are worth on samples with known answers.

    `utility` is the kind's own. What the field calls for beside it, by name: `figures` are shares,
    `correlations` are -1 to 1, and `errors` are in the unit of the answers, where less is better.
    `signatures` say how a figure was computed, by its name, where others may do it in another way.
    `confusion` counts true by predicted classes, where answers are one of several classes.
    """

    n: int
    utility: Estimate
    ece: float
    reliability: Reliability
    figures: dict[str, Estimate] = field(default_factory=dict)
    confusion: list[list[int]] | None = None
    correlations: dict[str, Estimate] = field(default_factory=dict)
    errors: dict[str, Estimate] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
