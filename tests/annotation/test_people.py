from umc_ray.annotation.people import PersonWork, Ratio, work_of_people
from umc_ray.annotation.store import Answer
from umc_ray.records import DomainKey
from umc_ray.tasks.classification import Classification

KINDS = {"mood": Classification(("bad", "good"))}
COSTS = {DomainKey("mood", "posts"): 1.0, DomainKey("mood", "news"): 2.0}


def answer(who, sample_id, label, seconds=None, domain="posts"):
    return Answer("tiny", "mood", domain, sample_id, who, label, round=1, seconds=seconds)


def test_the_work_of_each_person_is_summed_up():
    answers = [
        answer("ann", 1, "good", 2.0),
        answer("bob", 1, "good", 9.0),
        answer("cem", 1, "bad"),
        answer("dan", 1, "good"),
        answer("ann", 2, "good", 4.0, "news"),
        answer("bob", 2, "bad", None, "news"),
        answer("ann", 3, None, 60.0),
        answer("ann", 4, "bad", 1.0, "gone"),
    ]
    assert work_of_people(answers, KINDS, COSTS) == {
        "ann": PersonWork(3, 1, 4.0, Ratio(1, 2), 4.0),
        "bob": PersonWork(2, 0, 9.0, Ratio(1, 2), 3.0),
        "cem": PersonWork(1, 0, None, Ratio(0, 1), 1.0),
        "dan": PersonWork(1, 0, None, Ratio(1, 1), 1.0),
    }
