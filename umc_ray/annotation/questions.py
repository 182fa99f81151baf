"""From a round's batch to the questions that people are asked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from umc_ray.annotation.store import Payload, Question
from umc_ray.config.campaign import CampaignConfig
from umc_ray.methods.identity import uniform
from umc_ray.records import Made
from umc_ray.selection.batch import CHECKED
from umc_ray.tasks.task import Prediction

HIDDEN = "hidden predictions"

Row = Mapping[str, Any]
"""A row of a table of the BATCH schema."""


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
    rows, hidden_share = batch.to_pylist(), config.annotation.hidden_share
    draws = uniform(batch["sample_id"].to_numpy(), config.seed, HIDDEN)
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
            hide_prediction=row["audit"] or row["why"] == CHECKED or draw < hidden_share,
            payload=_payload(row, prediction, rank),
        )
        for position, (row, prediction, rank, draw) in enumerate(
            zip(rows, predictions, _ranks(rows), draws, strict=True)
        )
    ]


def validation_questions(
    config: CampaignConfig, number: int, batch: pa.Table, made: Mapping[int, Made]
) -> list[Question]:
    """Make a question of each synthetic sample that people validate, after those of the pool.

    Args:
        config: of the campaign.
        number: of the round.
        batch: a table of the BATCH schema; what it predicts is what each sample was made for.
        made: what each was made by, by id.
    """
    return [
        Question(
            campaign=config.name,
            round=number,
            task=row["task"],
            domain=row["domain"],
            sample_id=row["sample_id"],
            votes=config.annotation.votes,
            priority=-(number + 1 - 1 / (config.budget.per_round + position + 2)),
            why=row["why"],
            payload=Payload(predicted=row["predicted"], made=made[row["sample_id"]]),
        )
        for position, row in enumerate(batch.to_pylist())
    ]


def _payload(row: Row, prediction: Prediction | None, rank: tuple[int, int] | None) -> Payload:
    """Lay out what the page shows of a row of a batch."""
    payload = Payload(predicted=row["predicted"], confidence=row["confidence"])
    if prediction is None:
        return payload
    opinions, (place, ranked) = len(prediction.specialists), rank or (None, None)
    return replace(
        payload,
        probabilities=prediction.shares,
        specialists=prediction.specialists,
        score=prediction.measures.get("score"),
        margin=prediction.measures.get("margin"),
        disagreement=prediction.measures.get("disagreement") if opinions > 1 else None,
        rank=place,
        ranked=ranked,
    )


def _ranks(rows: Sequence[Row]) -> list[tuple[int, int] | None]:
    """Rank the selected samples of each domain by acquisition, each with their number.

    Audits have no rank.
    """
    domains: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(rows):
        if not row["audit"]:
            domains.setdefault((row["task"], row["domain"]), []).append(i)
    ranks: list[tuple[int, int] | None] = [None] * len(rows)
    for selected in domains.values():
        ranked = sorted(selected, key=lambda i: -rows[i]["acquisition"])
        for rank, i in enumerate(ranked, start=1):
            ranks[i] = (rank, len(selected))
    return ranks
