"""From a round's batch to the questions that people are asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from umc_ray.annotation.store import Question
from umc_ray.config import CampaignConfig
from umc_ray.pipeline.batch import NO_MODEL
from umc_ray.pipeline.opinions import OPINION, Opinion


def batch_questions(
    config: CampaignConfig, number: int, batch: pa.Table, opinions: Sequence[Opinion]
) -> list[Question]:
    """Make a question of each row of a round's batch, most important first.

    Args:
        config: whose people are asked.
        number: of the round.
        batch: a table of the BATCH schema.
        opinions: what the specialists think of each row.
    """
    rows = batch.drop_columns(["embedding"]).to_pylist()
    return [
        _question(config, number, position, {**row, **opinion})
        for position, (row, opinion) in enumerate(zip(rows, opinions, strict=True))
    ]


def _question(
    config: CampaignConfig, number: int, position: int, row: Mapping[str, Any]
) -> Question:
    known = row["predicted"] != NO_MODEL
    return Question(
        campaign=config.name,
        round=number,
        task=row["task"],
        domain=row["domain"],
        sample_id=row["sample_id"],
        votes=config.annotation.votes,
        priority=-float(position),
        why=row["why"],
        blind=row["audit"],
        payload={
            "predicted": config.tasks[row["task"]].labels[row["predicted"]] if known else None,
            "confidence": row["confidence"],
            **{name: row[name] for name in OPINION if name in row},
        },
    )
