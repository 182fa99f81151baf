import pytest

from umc_ray.annotation.store import Answer
from umc_ray.annotation.times import answer_times
from umc_ray.records import DomainKey

COSTS = {
    DomainKey("tone", "mail"): 1.0,
    DomainKey("tone", "chat"): 1.0,
    DomainKey("topic", "news"): 4.0,
}


def answer(sample_id, domain, seconds, **values):
    task = "topic" if domain == "news" else "tone"
    return Answer("camp", task, domain, sample_id, "ann", "good", 1, seconds, **values)


def test_costs_are_proportional_to_times_and_keep_the_configured_total():
    answers = [answer(i, "mail", 2.0) for i in range(100)]
    answers += [answer(i, "chat", 6.0) for i in range(100, 200)]
    answers += [answer(i, "news", None) for i in range(200, 300)]
    found = answer_times(answers, COSTS)
    assert [each.timed for each in found.values()] == [100, 100, 0]
    mail, chat, news = (found[name] for name in ("tone/mail", "tone/chat", "topic/news"))
    assert chat.seconds / mail.seconds == pytest.approx(3, rel=0.1)
    assert mail.seconds < news.seconds < chat.seconds
    assert chat.cost / mail.cost == pytest.approx(chat.seconds / mail.seconds)
    assert 100 * (mail.cost + chat.cost) == pytest.approx(200)


def test_the_time_of_a_group_is_divided_by_its_answers():
    alone = [answer(i, "mail", 2.0) for i in range(8)]
    group = [answer(i, "mail", 16.0, bulk="g") for i in range(8)]
    assert answer_times(group, COSTS) == answer_times(alone, COSTS)


def test_without_times_the_result_is_empty():
    assert answer_times([answer(1, "mail", None)], COSTS) == {}
