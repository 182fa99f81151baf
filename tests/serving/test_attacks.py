"""The endpoint on Serve against all attacks: each is refused or taken, and none is an error 5xx."""

import pytest

from benchmarks.hostile_requests import SECRET, attacks
from tests.serving.exchange import exchange

pytestmark = pytest.mark.ray

ATTACKS = attacks(200_000)


def with_marks():
    """Every place and value is in some of those that always run, and all are in a long run."""
    for number, attack in enumerate(ATTACKS):
        is_long = attack.is_of_grid and number % 7
        yield pytest.param(attack, id=attack.name, marks=[pytest.mark.long] if is_long else [])


def test_there_are_many_attacks():
    assert len({each.data for each in ATTACKS}) == len(ATTACKS) > 1400
    assert {each.fate for each in ATTACKS} == {"refused", "taken", "cut"}


@pytest.mark.parametrize("attack", list(with_marks()))
def test_an_attack_meets_its_fate(server, attack):
    address = server.url.removeprefix("http://").split(":")
    answer = exchange(address, attack.data, ends=attack.fate == "cut")
    if attack.fate == "taken":
        assert answer.status == 200, answer
    elif attack.fate == "refused" or answer.status is not None:
        assert 400 <= answer.status < 500, answer
        assert SECRET not in answer.text
        assert len(answer.text) < 3000
