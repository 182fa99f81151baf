"""From a round's batch to the questions that people are asked."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from umc_ray.annotation.store import Question
from umc_ray.config.campaign import CampaignConfig
from umc_ray.selection.batch import NO_MODEL
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.specialists.predictions import PREDICTION_FIELDS, batch_predictions
from umc_ray.storage import Storage


def batch_questions(
    config: CampaignConfig,
    number: int,
    batch: pa.Table,
    storage: Storage,
    ensembles: Mapping[str, Mapping[str, Any]],
) -> list[Question]:
    """Make a question of each row of a round's batch, most important first.

    Args:
        config: whose people are asked.
        number: of the round.
        batch: a table of the BATCH schema.
        storage: the run directory.
        ensembles: as JSON, of the tasks that have one: the page shows what they think.
    """
    refs = {name: EnsembleRef.from_json(each) for name, each in ensembles.items()}
    shown = refs if config.annotation.backend == "web" else {}
    classes = {name: task.labels for name, task in config.tasks.items()}
    predictions = batch_predictions(storage, shown, batch, classes)
    rows = batch.drop_columns(["embedding"]).to_pylist()
    return [
        _question(config, number, position, {**row, **prediction})
        for position, (row, prediction) in enumerate(zip(rows, predictions, strict=True))
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
        priority=-(number + position / (position + 1)),  # all of a round before the next one's
        why=row["why"],
        hide_prediction=row["audit"],
        payload={
            "predicted": config.tasks[row["task"]].labels[row["predicted"]] if known else None,
            "confidence": row["confidence"],
            **{name: row[name] for name in PREDICTION_FIELDS if name in row},
        },
    )
