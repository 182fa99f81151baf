"""The documents of a round are the same after they were stored."""

import pytest

from umc_ray.annotation.people import PersonWork, Ratio
from umc_ray.annotation.times import AnswerTime
from umc_ray.campaign.documents import (
    Allocation,
    Audit,
    BanditUpdate,
    DomainBudget,
    DomainMetrics,
    RoundMetrics,
    Training,
)
from umc_ray.errors import StoreError
from umc_ray.methods.bandit import ArmContext, Reward
from umc_ray.methods.calibration import Reliability
from umc_ray.methods.certificates import Certificate
from umc_ray.passes.score import DomainScores, PoolScores
from umc_ray.selection.near_duplicates import Check
from umc_ray.selection.selection_test import SelectionVerdict
from umc_ray.specialists.combination import SpecialistReport
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.storage import Storage
from umc_ray.tasks.quality import Estimate, Quality

AUDIT = Audit(9, Estimate(0.75, 0.5, 0.875))
VERDICT = SelectionVerdict("mood", 9, 4.5, 6.0, 0.25, False)
QUALITY = Quality(
    n=3,
    utility=Estimate(0.5, 0.25, 0.75),
    ece=0.125,
    reliability=Reliability([0.5, 0.9], [0.5, 1.0], [2, 1]),
    figures={"micro F1": Estimate(0.5, 0.0, 1.0)},
    confusion=[[1, 0], [1, 1]],
)
DOMAIN = DomainMetrics(3, 4.5, 0.25, AUDIT, QUALITY, VERDICT)
NEW = DomainMetrics(0, 0.0, None, None, None, None)

DOCUMENTS = [
    Allocation({"mood/posts": DomainBudget(9, 1, ArmContext("mood/posts", None, 5, 9, 1.0, 0.5))}),
    Training(
        rows=9,
        ensembles={"mood": EnsembleRef("models/mood/0001", ("a", "b"), "v")},
        specialists={
            "mood": {
                "a": SpecialistReport(0.5, 30.0, 9, "w", {"temperature": 1.5}),
                "b": SpecialistReport(
                    0.5, 3.0, 9, "w", {"scales": [1.0, 2.0], "shifts": [0.0, -1.0]}
                ),
            }
        },
        audits={"mood/posts": AUDIT},
        selection_tests={"mood/posts": VERDICT},
        certificates={"mood": Certificate(0.9, 0.04, 99, 50, 1), "tags": None},
    ),
    PoolScores(12, {"mood/posts": DomainScores(12, 9, 0.25)}),
    RoundMetrics(
        labels=3,
        cost=4.5,
        domains={"mood/news": NEW, "mood/posts": DOMAIN},
        audit_utility=0.75,
        test_utility=None,
        near_duplicates={"mood/posts": Check(5, 2, 1, 0.01, 0.99)},
        times={"mood/posts": AnswerTime(3, 4.25, 1.5)},
        people={"ann": PersonWork(3, 0, None, Ratio(1.5, 2), 4.5)},
    ),
    BanditUpdate([Reward("mood/posts", 1.5, 3)]),
]


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: type(each).__name__)
def test_a_document_is_read_as_it_was_written(storage, document):
    storage.write_record("document.json", document)
    found = storage.read_record("document.json", type(document))
    assert found == document
    assert repr(found) == repr(document)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: type(each).__name__)
def test_a_document_without_one_of_its_parts_is_refused(storage, document):
    storage.write_record("document.json", document)
    values = storage.read_json("document.json")
    first = next(iter(type(document).__dataclass_fields__))
    del values[first]
    storage.write_json("document.json", values)
    said = rf"document\.json of .* is not a {type(document).__name__}: {first}: Field required"
    with pytest.raises(StoreError, match=said):
        storage.read_record("document.json", type(document))
