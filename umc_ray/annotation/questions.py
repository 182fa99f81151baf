"""From a round's batch to the questions that people are asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from umc_ray.annotation.store import Question
from umc_ray.config.campaign import CampaignConfig
from umc_ray.tasks.task import Prediction

SHOWN_MEASURES = ("score", "margin", "disagreement")
"""Of those that a task's kind has, the measures that the page shows."""


def batch_questions(
    config: CampaignConfig,
    number: int,
    batch: pa.Table,
    predictions: Sequence[Prediction | None],
) -> list[Question]:
    """Make a question of each row of a round's batch, most important first.

    Args:
        config: of the campaign.
        number: of the round.
        batch: a table of the BATCH schema.
        predictions: for each row, what the page shows of the models; None: nothing.
    """
    rows = batch.to_pylist()
    return [
        Question(
            campaign=config.name,
            round=number,
            task=row["task"],
            domain=row["domain"],
            sample_id=row["sample_id"],
            votes=config.annotation.votes,
            priority=-(number + position / (position + 1)),  # this round before the next one
            why=row["why"],
            hide_prediction=row["audit"],
            payload={
                "predicted": row["predicted"],
                "confidence": row["confidence"],
                **({} if prediction is None else _shown(prediction) | rank),
            },
        )
        for position, (row, prediction, rank) in enumerate(
            zip(rows, predictions, _ranks(rows), strict=True)
        )
    ]


def _shown(prediction: Prediction) -> dict[str, Any]:
    """Lay a prediction out as JSON values for the page."""
    measures = prediction.measures
    return {
        "probabilities": dict(prediction.shares),
        "specialists": {name: list(each) for name, each in prediction.specialists.items()},
        **{name: measures[name] for name in SHOWN_MEASURES if name in measures},
    }


def _ranks(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, int]]:
    """Rank the selected samples of each domain by acquisition; audits have no rank."""
    domains: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(rows):
        if not row["audit"]:
            domains.setdefault((row["task"], row["domain"]), []).append(i)
    ranks: list[dict[str, int]] = [{} for _ in rows]
    for selected in domains.values():
        ranked = sorted(selected, key=lambda i: -rows[i]["acquisition"])
        for rank, i in enumerate(ranked, start=1):
            ranks[i] = {"rank": rank, "ranked": len(selected)}
    return ranks
