import numpy as np
import pytest

from umc_ray.methods.refill import BETWEEN, MOST, SPREAD, Arm, Trial, believe, decide
from umc_ray.methods.with_without import Gain

SURE = Gain(0.01, 0.001, 50.0)
HARMFUL = Gain(-0.01, 0.001, 50.0)
UNCLEAR = Gain(0.0, 0.002, 50.0)
ACTIONS = ("search", "writer")


def decided(before=(), missing=None, trials=(), number=2):
    missing = {"gap": 20.0} if missing is None else missing
    arms = decide(before, missing, ACTIONS, dict(trials), number, seed=0)
    return {(arm.lack, arm.action): arm for arm in arms}


def test_a_trial_has_all_labels_to_itself_and_the_next_action_waits():
    arms = decided()
    assert (arms["gap", "search"].state, arms["gap", "search"].share) == ("on trial", MOST)
    assert (arms["gap", "writer"].state, arms["gap", "writer"].share) == ("waits", 0.0)


def test_what_is_lacking_more_gets_more_labels():
    arms = decided(missing={"much": 30.0, "little": 10.0})
    assert arms["much", "search"].share == pytest.approx(3 * arms["little", "search"].share)
    assert sum(arm.share for arm in arms.values()) == pytest.approx(MOST)


def test_what_harms_is_off_after_one_round_and_the_next_action_is_tried():
    arms = decided(trials={("gap", "search"): Trial(1, HARMFUL)})
    assert (arms["gap", "search"].state, arms["gap", "search"].share) == ("off", 0.0)
    assert arms["gap", "writer"].state == "on trial"


@pytest.mark.parametrize("gain", [UNCLEAR, None])
def test_what_does_not_surely_pay_is_off_after_two_rounds_with_its_figures(gain):
    trials = {("gap", "search"): Trial(2, HARMFUL), ("gap", "writer"): Trial(1, gain)}
    first = decided(trials=trials)
    assert first["gap", "writer"].state == "on trial"
    trials["gap", "writer"] = Trial(2, gain)
    second = decided(list(first.values()), trials=trials, number=3)
    writer = second["gap", "writer"]
    assert (writer.state, writer.share, writer.rounds) == ("off", 0.0, 2)
    assert writer.gain == pytest.approx(0.0)
    third = decided(list(second.values()), trials=trials, number=4)
    assert third["gap", "writer"] == writer  # its figures stay


def test_synthetic_samples_have_to_prove_more_than_a_search():
    likely = Gain(0.002, 0.002, 50.0)
    trials = {("gap", "search"): Trial(2, likely)}
    assert decided(trials=trials)["gap", "search"].state == "pays"
    trials = {("gap", "search"): Trial(2, HARMFUL), ("gap", "writer"): Trial(2, likely)}
    assert decided(trials=trials)["gap", "writer"].state == "off"


def test_what_is_off_is_tried_again_once_twice_as_much_is_lacking():
    off = [Arm("gap", "search", 20.0, 1, "off", rounds=2)]
    trials = {("gap", "search"): Trial(2, HARMFUL)}
    assert decided(off, {"gap": 39.0}, trials)["gap", "search"].state == "off"
    again = decided(off, {"gap": 40.0}, number=7)["gap", "search"]
    assert (again.state, again.since, again.missing) == ("on trial", 7, 40.0)


def test_of_two_that_pay_the_better_one_gets_nearly_all():
    better = Gain(0.02, 0.001, 50.0)
    arms = decided(trials={("gap", "search"): Trial(2, SURE), ("gap", "writer"): Trial(2, better)})
    assert arms["gap", "writer"].share > 0.9 * MOST
    assert {arm.state for arm in arms.values()} == {"pays"}


def test_a_decision_is_the_same_each_time():
    trials = {("gap", "search"): Trial(2, SURE), ("gap", "writer"): Trial(1, UNCLEAR)}
    assert decided(trials=trials) == decided(trials=trials)


def test_belief_is_that_of_the_joint_normal_distribution():
    gains = [Gain(0.004, 0.001, 1.0), Gain(-0.001, 0.002, 1.0), None]
    prior = SPREAD**2 + BETWEEN**2 * np.eye(3)
    seen = prior[:2, :2] + np.diag([0.001**2, 0.002**2])
    pull = prior[:, :2] @ np.linalg.inv(seen)
    mean = pull @ [0.004, -0.001]
    deviation = np.sqrt(np.diag(prior - pull @ prior[:2, :]))
    assert believe(gains) == [
        pytest.approx(pair) for pair in zip(mean.tolist(), deviation.tolist(), strict=True)
    ]


def test_a_trial_that_brings_nothing_ends():
    arms = decided(number=1)
    for number in (2, 3):
        arms = decided(list(arms.values()), number=number)
        assert arms["gap", "search"].state == "on trial"
        assert arms["gap", "writer"].since == number  # its trial has not begun
    arms = decided(list(arms.values()), number=4)
    assert (arms["gap", "search"].state, arms["gap", "search"].rounds) == ("off", 0)
    assert (arms["gap", "writer"].state, arms["gap", "writer"].since) == ("on trial", 4)
