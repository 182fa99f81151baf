import pyarrow as pa

from tests.tiny import campaign
from umc_ray.annotation.questions import batch_questions
from umc_ray.config.campaign import CampaignConfig
from umc_ray.records import BATCH
from umc_ray.storage import Storage

ROW = {"task": "mood", "domain": "posts", "part": "part-00000", "acquisition": 0.5}
ROWS = [
    {**ROW, "sample_id": 7, "audit": True, "predicted": -1, "confidence": 0.0, "why": "random"},
    {**ROW, "sample_id": 3, "audit": False, "predicted": 1, "confidence": 0.75, "why": "hard"},
]


def questions(folder, number):
    config = CampaignConfig.model_validate(campaign(folder))
    batch = pa.Table.from_pylist(ROWS, schema=BATCH)
    return batch_questions(config, number, batch, Storage(str(folder)), {})


def test_rows_become_questions_in_their_order_with_what_is_known(tmp_path):
    first, second = questions(tmp_path, 4)
    assert (first.campaign, first.round, first.task, first.domain) == ("tiny", 4, "mood", "posts")
    assert [(q.sample_id, q.hide_prediction, q.why) for q in (first, second)] == [
        (7, True, "random"),
        (3, False, "hard"),
    ]
    assert first.votes == 3
    assert first.payload == {"predicted": None, "confidence": 0.0}
    assert second.payload == {"predicted": "good", "confidence": 0.75}  # no page: no opinions


def test_a_round_comes_before_the_one_that_was_asked_ahead(tmp_path):
    ranked = sorted(questions(tmp_path, 5) + questions(tmp_path, 4), key=lambda q: -q.priority)
    assert [(q.round, q.sample_id) for q in ranked] == [(4, 7), (4, 3), (5, 7), (5, 3)]
