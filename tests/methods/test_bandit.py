"""The bandit by hand-counted cases and in a simulated world with a known optimum."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from umc_ray.errors import ConfigError
from umc_ray.methods.allocation import allocate
from umc_ray.methods.bandit import (
    LEARNING_RATE,
    OBJECTIVES,
    POLICIES,
    ArmContext,
    BanditState,
    Reward,
    observe,
    shares,
    update,
)

DEFAULT = "ucb"
LEARNING = [policy for policy in POLICIES if policy not in ("uniform", "proportional")]


def arm(name="t/a", uncertainty=0.3, remaining=900, pool=1000, cost=1.0, accuracy=0.7):
    return ArmContext(name, uncertainty, remaining, pool, cost, accuracy)


def ratio(policy, state, first, second, objective="macro"):
    share_A = shares(policy, state, [first, second], objective)
    return share_A[0] / share_A[1]


# --- shares


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_shares_add_up_and_leave_out_empty_arms(policy, objective):
    arms = [arm("t/a"), arm("t/b", uncertainty=None, accuracy=None), arm("t/c", remaining=0)]
    share_A = shares(policy, BanditState(), arms, objective)
    assert share_A.sum() == pytest.approx(1)
    assert (share_A[:2] > 0).all()
    assert share_A[2] == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_shared_when_nothing_is_left(policy):
    assert shares(policy, BanditState(), [arm(remaining=0)], "macro").tolist() == [0]
    assert shares(policy, BanditState(), [], "macro").size == 0


def test_the_plain_policies_share_by_what_they_are_named_after():
    arms = [arm("t/a", uncertainty=0.1, remaining=10), arm("t/b", uncertainty=0.3, remaining=40)]
    state = BanditState()
    assert shares("uniform", state, arms, "macro") == pytest.approx([0.5, 0.5])
    assert shares("proportional", state, arms, "macro") == pytest.approx([0.2, 0.8])
    assert shares("uncertainty", state, arms, "macro") == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("policy", LEARNING)
def test_an_arm_at_twice_the_cost_gets_half_the_labels(policy):
    cheap, dear = arm("t/a"), arm("t/b")
    before = ratio(policy, BanditState(), cheap, dear)
    assert ratio(policy, BanditState(), cheap, replace(dear, cost=2.0)) == pytest.approx(2 * before)


def test_each_objective_weighs_arms_by_what_it_counts():
    large = arm("t/a", pool=3000, accuracy=0.9)
    weak = arm("t/b", pool=1000, accuracy=0.7)
    state = BanditState()
    assert ratio("uncertainty", state, large, weak, "macro") == pytest.approx(1)
    assert ratio("uncertainty", state, large, weak, "pooled") == pytest.approx(3)
    # both are 70 % sure: the mean accuracies are .8 and .7
    assert ratio("uncertainty", state, large, weak, "worst") == pytest.approx(np.exp(-0.1 / 0.2))


def test_before_there_is_a_model_an_arm_counts_as_the_most_uncertain_one():
    assert ratio("uncertainty", BanditState(), arm("t/a", uncertainty=None), arm("t/b")) == 1


@pytest.mark.parametrize(("policy", "objective"), [("epsilon", "macro"), ("ucb", "best")])
def test_an_unknown_name_is_refused_with_the_known_ones(policy, objective):
    with pytest.raises(
        ConfigError, match=r"'(epsilon|best)' asked for, there is (gradient|pooled)"
    ):
        shares(policy, BanditState(), [arm()], objective)


# --- learning


def test_the_gradient_policy_moves_by_the_reward_above_the_mean():
    state = update(BanditState(), [Reward("t/a", 5, 10), Reward("t/b", 1, 10)])
    # rewards .5 and .1, mean .3
    assert state.arms["t/a"].theta == pytest.approx(LEARNING_RATE * 0.2)
    assert state.arms["t/b"].theta == pytest.approx(LEARNING_RATE * -0.2)
    state = update(state, [Reward("t/a", 9, 10)])
    # the mean of .5, .1 and .9 is .5
    assert state.arms["t/a"].theta == pytest.approx(LEARNING_RATE * (0.2 + 0.4))
    assert ratio("gradient", state, arm("t/a"), arm("t/b")) == pytest.approx(
        np.exp(LEARNING_RATE * 0.8)
    )


def test_a_round_without_trials_teaches_nothing_but_evidence_ages():
    learned = update(BanditState(), [Reward("t/a", 5, 10)])
    idle = update(learned, [Reward("t/a", 0, 0)])
    assert idle.mean_reward == learned.mean_reward
    assert idle.arms["t/a"].theta == learned.arms["t/a"].theta
    assert 0 < idle.arms["t/a"].trials < learned.arms["t/a"].trials
    assert idle.step == 2


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb"])
def test_errors_on_bought_labels_move_the_shares_away_from_the_prior(policy):
    state = update(BanditState(), [Reward("t/a", 80, 100), Reward("t/b", 20, 100)])
    # b looks worse to the models, but they were wrong about a
    doubtful, wrong = arm("t/b", uncertainty=0.5), arm("t/a", uncertainty=0.3)
    assert ratio(policy, state, wrong, doubtful) > 2
    assert ratio("uncertainty", state, wrong, doubtful) < 1


def test_a_draw_depends_on_seed_step_and_name_but_not_on_the_other_arms():
    arms = [arm("t/a"), arm("t/b"), arm("t/c")]
    state = BanditState(seed=3)
    alone = ratio("thompson", state, *arms[:2])
    among = shares("thompson", state, arms, "macro")
    assert among[0] / among[1] == pytest.approx(alone)
    assert ratio("thompson", replace(state, step=1), *arms[:2]) != pytest.approx(alone)
    assert ratio("thompson", replace(state, seed=4), *arms[:2]) != pytest.approx(alone)


def test_a_state_survives_json():
    state = observe(BanditState(seed=5), [arm("t/a"), arm("t/b", uncertainty=None)])
    state = update(state, [Reward("t/a", 3, 7)])
    assert BanditState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_a_vanished_arm_keeps_its_record_and_a_new_one_is_preferred_like_the_best():
    state = update(BanditState(), [Reward("t/a", 9, 10), Reward("t/b", 1, 10)])
    later = observe(state, [arm("t/b"), arm("t/new", uncertainty=None)])
    assert later.arms["t/a"] == state.arms["t/a"]
    assert later.arms["t/new"].theta == state.arms["t/a"].theta
    assert later.arms["t/new"].curve == ()
    assert later.arms["t/b"].curve == ((100.0, 0.3),)


# --- a world with a known optimum


@dataclass
class Domain:
    """A domain whose error falls as `rest + drop * labels ** -0.5`."""

    rest: float
    drop: float
    labels: float = 20.0
    pool: int = 20_000

    def error(self, labels):
        return self.rest + self.drop * labels**-0.5

    def see(self, name, rng):
        """Look at it: an uncertainty with 5 % noise, an accuracy from a tenth of the labels."""
        error, audits = self.error(self.labels), int(self.labels / 10)
        hits = rng.binomial(audits, 1 - error)
        uncertainty = error * rng.normal(1, 0.05)
        return ArmContext(
            name, uncertainty, self.pool - int(self.labels), self.pool, 1.0, hits / audits
        )

    def buy(self, name, labels, rng):
        """Selected labels are hard: this is about how often the models of the benchmark err."""
        rate = self.rest + (1 - self.rest) * (self.error(self.labels) - self.rest) ** (1 / 3)
        self.labels += labels
        return Reward(name, int(rng.binomial(labels, rate)), int(labels))


def campaign(domains, policy, objective="macro", seed=0, rounds=12, per_round=400, floor=0.05):
    """Yield the labels per domain of each round."""
    rng, state = np.random.default_rng(seed), BanditState(seed=seed)
    for _ in range(rounds):
        arms = [each.see(f"t/{place}", rng) for place, each in enumerate(domains)]
        state = observe(state, arms)
        share_A = shares(policy, state, arms, objective)
        left_A = [each.remaining for each in arms]
        bought_A = allocate(share_A, per_round, floor=floor, remaining_A=left_A)
        both = zip(arms, domains, bought_A, strict=True)
        state = update(state, [domain.buy(arm.name, int(n), rng) for arm, domain, n in both])
        yield bought_A


def world():
    """Eight domains: easy, hard and slow ones."""
    kinds = [(0.0, 0.5), (0.0, 1.0), (0.1, 1.0), (0.3, 0.5), (0.05, 2.0), (0.2, 3.0)]
    return [Domain(*kind) for kind in [*kinds, (0.3, 0.8), (0.02, 0.3)]]


def errors(domains, objective):
    error_A = [each.error(each.labels) for each in domains]
    return max(error_A) if objective == "worst" else float(np.mean(error_A))


def mean_error(policy, objective, seed):
    domains = world()
    return np.mean([errors(domains, objective) for _ in campaign(domains, policy, objective, seed)])


def greedy_error(objective):
    """The optimum for convex curves: label after label where it helps most."""
    domains, found = world(), []
    for _ in range(12):
        for _ in range(400):
            gains = [each.error(each.labels) - each.error(each.labels + 1) for each in domains]
            worst = [each.error(each.labels) for each in domains]
            domains[int(np.argmax(worst if objective == "worst" else gains))].labels += 1
        found.append(errors(domains, objective))
    return np.mean(found)


def test_the_default_closes_half_of_the_gap_between_an_even_split_and_the_optimum():
    even = np.mean([mean_error("uniform", "macro", seed) for seed in range(5)])
    found = np.mean([mean_error(DEFAULT, "macro", seed) for seed in range(5)])
    assert even - found >= 0.5 * (even - greedy_error("macro"))


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb", "uncertainty"])
@pytest.mark.parametrize("objective", ["macro", "worst"])
def test_no_learning_policy_does_worse_than_an_even_split(policy, objective):
    for seed in range(3):
        assert mean_error(policy, objective, seed) < mean_error("uniform", objective, seed)


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb"])
@pytest.mark.parametrize("error", [0.5, 0.9])
def test_a_domain_of_noise_is_starved_after_five_rounds(policy, error):
    for seed in range(5):
        domains = [*world()[:7], Domain(rest=error, drop=0.0)]
        bought_RA = np.array(list(campaign(domains, policy, seed=seed)))
        assert bought_RA[5:, -1].mean() < 1.5 * 0.05 * 400


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb"])
def test_a_domain_that_learns_slowly_is_not_taken_for_noise(policy):
    # at 45 % of errors, and a fall of a few points in the whole campaign
    domains = [Domain(rest=0.35, drop=1.5), *(Domain(rest=0.1, drop=0.3) for _ in range(7))]
    bought_RA = np.array(list(campaign(domains, policy)))
    assert bought_RA[5:, 0].mean() > 400 / 8


def test_first_models_that_were_too_sure_do_not_make_a_domain_noise():
    # tweets of a real campaign: with the first point as it is, they seem to become harder
    def share(first):
        state = BanditState()
        for labels, uncertainty in ((20, first), (37, 0.355), (45, 0.35), (51, 0.378), (57, 0.355)):
            arms = [
                ArmContext(name, value, 1000 - labels, 1000, 1.0, None)
                for name, value in {"tweets": uncertainty, "other": 0.3}.items()
            ]
            rewards = [Reward("tweets", 3, 10), Reward("other", 5, 10)]
            state = update(observe(state, arms), rewards)
        return shares("ucb", state, arms, "macro")[0]

    assert share(0.197) > 0.9 * share(0.37) > 0.05


def test_a_domain_that_has_nothing_more_to_teach_loses_its_share():
    domains = [Domain(rest=0.0, drop=4.0), *(Domain(rest=0.25, drop=1.0) for _ in range(3))]
    first, *_, last = campaign(domains, DEFAULT, floor=0.0, rounds=20)
    assert first[0] > 100 > last[0]


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb", "uncertainty"])
def test_a_new_domain_is_explored_in_its_first_round(policy):
    rng, domains = np.random.default_rng(0), world()
    state = BanditState()
    for _ in range(4):
        arms = [each.see(f"t/{place}", rng) for place, each in enumerate(domains)]
        rewards = [each.buy(f"t/{place}", 50, rng) for place, each in enumerate(domains)]
        state = update(observe(state, arms), rewards)
    new = arm("t/new", uncertainty=None, accuracy=None, remaining=1000)
    share_A = shares(policy, observe(state, [*arms, new]), [*arms, new], "macro")
    assert share_A[-1] > 1 / 9
