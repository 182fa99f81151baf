import numpy as np
import pyarrow as pa
import pytest

from umc_ray.annotation.store import Answer
from umc_ray.campaign.documents import DomainFairness, Fairness
from umc_ray.campaign.fairness import annotator_bias, representation
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

KIND = Classification(("bad", "good"))


def test_shares_of_labels_are_compared_with_those_of_the_pool():
    pool = {("f", "a"): 300, ("f", "b"): 5, ("m", "a"): 600, ("m", "b"): 95}
    labeled = {"sex": np.array(["f"] * 5 + ["m"] * 45), "race": np.array(["a"] * 49 + ["b"])}
    sex, race, both = representation(["sex", "race"], pool, labeled, 30)
    assert [(each.name, each.labeled, each.pool) for each in sex.groups] == [
        ("f", 5, 305),
        ("m", 45, 695),
    ]
    assert sex.gap.value == pytest.approx(0.205)
    assert sex.gap.is_beyond_chance
    assert race.by == "race"
    assert [each.name for each in both.groups] == ["f × a", "m × a", "m × b"]


def answers(votes, kind="good"):
    """The votes on samples: "gb" are a good one and a bad one."""
    names = {"g": "good", "b": "bad", "-": None}
    return [
        Answer(campaign="c", task="mood", domain="posts", round=1, sample_id=i,
               annotator=f"p{n}", label=names[vote])
        for i, given in enumerate(votes)
        for n, vote in enumerate(given)
    ]  # fmt: skip


def test_people_that_disagree_more_about_one_group_are_found():
    votes = ["ggg", "ggb"] * 40 + ["g", "g-", "gg"]
    audited = pa.table({"sample_id": range(83), "label": ["good"] * 83})
    sexes = np.array(["f", "m"] * 40 + ["x"] * 3)
    (found,) = annotator_bias(KIND, answers(votes), audited, {"sex": sexes}, 20)
    by_name = {each.name: each for each in found.groups}
    assert {name: each.n for name, each in by_name.items()} == {"f": 40, "m": 40}
    assert by_name["m"].disagreement.value == pytest.approx(1 / 3)
    assert found.gap.value == pytest.approx(1 / 3)
    assert found.gap.is_beyond_chance


def test_single_votes_say_nothing_of_annotators():
    audited = pa.table({"sample_id": range(3), "label": ["good"] * 3})
    sexes = np.array(["f", "m", "f"])
    assert annotator_bias(KIND, answers(["g", "g", "b"]), audited, {"sex": sexes}, 1) == []


def test_the_document_is_read_as_it_was_written(tmp_path):
    pool, labeled = {("f",): 30, ("m",): 70}, {"sex": np.array(["f", "m", "m"])}
    shares = representation(["sex"], pool, labeled, 1)
    document = Fairness({"mood/posts": DomainFairness([], [], shares, [])})
    storage = Storage(str(tmp_path))
    storage.write_record("rounds/0001/fairness.json", document)
    assert storage.read_record("rounds/0001/fairness.json", Fairness) == document
    assert document.domains["mood/posts"].quality is None
