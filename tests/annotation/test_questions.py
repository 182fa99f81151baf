from dataclasses import replace

import pyarrow as pa
import pytest

from tests.tiny import campaign
from umc_ray.annotation.questions import batch_questions
from umc_ray.annotation.store import Payload
from umc_ray.config.campaign import CampaignConfig
from umc_ray.records import BATCH
from umc_ray.tasks.task import Prediction

ROW = {"task": "mood", "domain": "posts", "part": "part-00000", "acquisition": 0.5}
ROWS = [
    {**ROW, "sample_id": 7, "audit": True, "predicted": None, "confidence": 0.0, "why": "random"},
    {**ROW, "sample_id": 3, "audit": False, "predicted": "good", "confidence": 0.75, "why": "hard"},
]


def questions(folder, number, rows=ROWS, predictions=(None, None)):
    config = CampaignConfig.model_validate(campaign(folder))
    batch = pa.Table.from_pylist(rows, schema=BATCH)
    return batch_questions(config, number, batch, predictions)


def test_rows_become_questions_in_their_order_with_what_is_known(tmp_path):
    first, second = questions(tmp_path, 4)
    assert (first.campaign, first.round, first.task, first.domain) == ("tiny", 4, "mood", "posts")
    assert [(q.sample_id, q.hide_prediction, q.why) for q in (first, second)] == [
        (7, True, "random"),
        (3, False, "hard"),
    ]
    assert first.votes == 3
    assert first.payload == Payload(predicted=None, confidence=0.0)
    assert second.payload == Payload(predicted="good", confidence=0.75)  # no page: no opinions


def test_a_round_comes_before_the_one_that_was_asked_ahead(tmp_path):
    ranked = sorted(questions(tmp_path, 5) + questions(tmp_path, 4), key=lambda q: -q.priority)
    assert [(q.round, q.sample_id) for q in ranked] == [(4, 7), (4, 3), (5, 7), (5, 3)]


MEASURES = {"confidence": 0.8, "disagreement": 0.1, "score": 1.4, "margin": 0.25, "entropy": 0.9}
PREDICTION = Prediction(
    predicted="good",
    confidence=0.75,
    shares={"bad": 0.25, "good": 0.75},
    specialists={"a": ("good", 0.9), "b": ("bad", 0.6)},
    measures=MEASURES,
)


def test_the_page_is_given_what_the_ensemble_and_each_specialist_predict(tmp_path):
    _, second = questions(tmp_path, 4, predictions=(None, PREDICTION))
    assert second.payload == Payload(
        predicted="good",
        confidence=0.75,
        probabilities={"bad": 0.25, "good": 0.75},
        specialists={"a": ("good", 0.9), "b": ("bad", 0.6)},
        score=1.4,
        margin=0.25,
        disagreement=0.1,
        rank=1,
        ranked=1,
    )


def test_a_measure_that_a_kind_does_not_have_is_not_shown(tmp_path):
    prediction = replace(PREDICTION, measures={"margin": 0.25, "spread": 3.0})
    _, second = questions(tmp_path, 4, predictions=(None, prediction))
    payload = second.payload
    assert (payload.margin, payload.score, payload.disagreement) == (0.25, None, None)


def test_ranks_count_the_selected_samples_of_a_domain_and_no_audits(tmp_path):
    chosen = [("mood", 0.2, False), ("shape", 0.9, False), ("mood", 0.7, False), ("mood", 0, True)]
    rows = [
        {**ROW, "task": task, "acquisition": value, "audit": audit, "sample_id": 1, "why": ""}
        for task, value, audit in chosen
    ]
    predictions = (PREDICTION, None, PREDICTION, PREDICTION)
    found = [each.payload for each in questions(tmp_path, 4, rows, predictions)]
    assert [(each.rank, each.ranked) for each in found] == [
        (2, 2),
        (None, None),
        (1, 2),
        (None, None),
    ]


def test_a_random_share_is_answered_without_predictions_as_audits_are(tmp_path):
    rows = [{**ROWS[1], "sample_id": i} for i in range(1000)]

    def hidden(share):
        values = campaign(tmp_path)
        values["annotation"]["hidden_share"] = share
        config = CampaignConfig.model_validate(values)
        batch = pa.Table.from_pylist(rows, schema=BATCH)
        asked = batch_questions(config, 4, batch, [None] * len(rows))
        return {each.sample_id for each in asked if each.hide_prediction}

    few, many = hidden(0.1), hidden(0.3)
    assert few < many
    assert (len(few), len(many)) == (pytest.approx(100, abs=40), pytest.approx(300, abs=60))
    assert (hidden(0), len(hidden(1))) == (set(), 1000)
