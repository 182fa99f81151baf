import pyarrow as pa

from tests.tiny import campaign
from umc_ray.annotation.questions import batch_questions
from umc_ray.config import CampaignConfig
from umc_ray.records import BATCH

ROW = {"task": "mood", "domain": "posts", "part": "part-00000", "embedding": b"12"}
ROWS = [
    {**ROW, "sample_id": 7, "audit": True, "predicted": -1, "confidence": 0.0, "why": "random"},
    {**ROW, "sample_id": 3, "audit": False, "predicted": 1, "confidence": 0.75, "why": "hard"},
]


def test_rows_become_questions_in_their_order_with_what_is_known(tmp_path):
    config = CampaignConfig.model_validate(campaign(tmp_path))
    batch = pa.Table.from_pylist(ROWS, schema=BATCH)
    first, second = batch_questions(config, 4, batch, [{}, {"margin": 0.5, "unknown": 1}])
    assert (first.campaign, first.round, first.task, first.domain) == ("tiny", 4, "mood", "posts")
    assert [(q.sample_id, q.blind, q.why) for q in (first, second)] == [
        (7, True, "random"),
        (3, False, "hard"),
    ]
    assert first.priority > second.priority
    assert first.votes == 3
    assert first.payload == {"predicted": None, "confidence": 0.0}
    assert second.payload == {"predicted": "good", "confidence": 0.75, "margin": 0.5}
