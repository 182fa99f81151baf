"""The bandit on cases that can be checked by hand, and in simulations with a known optimum."""

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
def test_shares_add_up_to_1_and_are_0_for_empty_arms(policy, objective):
    arms = [arm("t/a"), arm("t/b", uncertainty=None, accuracy=None), arm("t/c", remaining=0)]
    share_A = shares(policy, BanditState(), arms, objective)
    assert share_A.sum() == pytest.approx(1)
    assert (share_A[:2] > 0).all()
    assert share_A[2] == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_all_shares_are_0_when_no_samples_are_left(policy):
    assert shares(policy, BanditState(), [arm(remaining=0)], "macro").tolist() == [0]
    assert shares(policy, BanditState(), [], "macro").size == 0


def test_simple_policies_share_by_the_quantity_they_are_named_after():
    arms = [arm("t/a", uncertainty=0.1, remaining=10), arm("t/b", uncertainty=0.3, remaining=40)]
    state = BanditState()
    assert shares("uniform", state, arms, "macro") == pytest.approx([0.5, 0.5])
    assert shares("proportional", state, arms, "macro") == pytest.approx([0.2, 0.8])
    assert shares("uncertainty", state, arms, "macro") == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("policy", LEARNING)
def test_an_arm_at_twice_the_cost_gets_half_the_labels(policy):
    first, second = arm("t/a"), arm("t/b")
    before = ratio(policy, BanditState(), first, second)
    after = ratio(policy, BanditState(), first, replace(second, cost=2.0))
    assert after == pytest.approx(2 * before)


def test_each_objective_has_its_own_weights():
    large = arm("t/a", pool=3000, accuracy=0.9)
    weak = arm("t/b", pool=1000, accuracy=0.7)
    state = BanditState()
    assert ratio("uncertainty", state, large, weak, "macro") == pytest.approx(1)
    assert ratio("uncertainty", state, large, weak, "pooled") == pytest.approx(3)
    # both have 1 - uncertainty = 0.7, so the mean estimates are 0.8 and 0.7
    assert ratio("uncertainty", state, large, weak, "worst") == pytest.approx(np.exp(-0.1 / 0.2))


def test_an_arm_without_a_model_counts_as_the_most_uncertain_one():
    assert ratio("uncertainty", BanditState(), arm("t/a", uncertainty=None), arm("t/b")) == 1


@pytest.mark.parametrize(("policy", "objective"), [("epsilon", "macro"), ("ucb", "best")])
def test_the_error_about_an_unknown_name_lists_the_known_ones(policy, objective):
    with pytest.raises(
        ConfigError, match=r"is '(epsilon|best)', but must be one of (gradient|pooled)"
    ):
        shares(policy, BanditState(), [arm()], objective)


# --- learning


def test_theta_moves_by_the_reward_above_the_mean():
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


def test_a_round_without_trials_only_discounts_the_evidence():
    learned = update(BanditState(), [Reward("t/a", 5, 10)])
    idle = update(learned, [Reward("t/a", 0, 0)])
    assert idle.mean_reward == learned.mean_reward
    assert idle.arms["t/a"].theta == learned.arms["t/a"].theta
    assert 0 < idle.arms["t/a"].trials < learned.arms["t/a"].trials
    assert idle.step == 2


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb"])
def test_errors_on_bought_labels_outweigh_the_prior(policy):
    state = update(BanditState(), [Reward("t/a", 80, 100), Reward("t/b", 20, 100)])
    # the models are less certain about b, but they were more often wrong about a
    uncertain, wrong = arm("t/b", uncertainty=0.5), arm("t/a", uncertainty=0.3)
    assert ratio(policy, state, wrong, uncertain) > 2
    assert ratio("uncertainty", state, wrong, uncertain) < 1


def test_a_thompson_sample_depends_on_seed_step_and_name_only():
    arms = [arm("t/a"), arm("t/b"), arm("t/c")]
    state = BanditState(seed=3)
    alone = ratio("thompson", state, *arms[:2])
    among = shares("thompson", state, arms, "macro")
    assert among[0] / among[1] == pytest.approx(alone)
    assert ratio("thompson", replace(state, step=1), *arms[:2]) != pytest.approx(alone)
    assert ratio("thompson", replace(state, seed=4), *arms[:2]) != pytest.approx(alone)


def test_a_vanished_arm_keeps_its_record_and_a_new_one_starts_with_the_best_theta():
    state = update(BanditState(), [Reward("t/a", 9, 10), Reward("t/b", 1, 10)])
    later = observe(state, [arm("t/b"), arm("t/new", uncertainty=None)])
    assert later.arms["t/a"] == state.arms["t/a"]
    assert later.arms["t/new"].theta == state.arms["t/a"].theta
    assert later.arms["t/new"].curve == ()
    assert later.arms["t/b"].curve == ((100.0, 0.3),)


# --- simulations with a known optimum


@dataclass
class Domain:
    """A domain with the learning curve `error = rest + drop * labels ** -0.5`."""

    rest: float
    drop: float
    labels: float = 20.0
    pool: int = 20_000

    def error(self, labels):
        return self.rest + self.drop * labels**-0.5

    def context(self, name, rng):
        """Return an uncertainty with 5 % noise and an accuracy from a tenth of the labels."""
        error, audits = self.error(self.labels), int(self.labels / 10)
        hits = rng.binomial(audits, 1 - error)
        uncertainty = error * rng.normal(1, 0.05)
        return ArmContext(
            name, uncertainty, self.pool - int(self.labels), self.pool, 1.0, hits / audits
        )

    def buy(self, name, labels, rng):
        """Buy labels with an error rate close to that of the models in the benchmark."""
        rate = self.rest + (1 - self.rest) * (self.error(self.labels) - self.rest) ** (1 / 3)
        self.labels += labels
        return Reward(name, int(rng.binomial(labels, rate)), int(labels))


def campaign(domains, policy, objective="macro", seed=0, rounds=12, per_round=400, floor=0.05):
    """Yield the labels per domain of each round."""
    rng, state = np.random.default_rng(seed), BanditState(seed=seed)
    for _ in range(rounds):
        arms = [domain.context(f"t/{i}", rng) for i, domain in enumerate(domains)]
        state = observe(state, arms)
        share_A = shares(policy, state, arms, objective)
        left_A = [arm.remaining for arm in arms]
        bought_A = allocate(share_A, per_round, floor=floor, remaining_A=left_A)
        both = zip(arms, domains, bought_A, strict=True)
        state = update(state, [domain.buy(arm.name, int(n), rng) for arm, domain, n in both])
        yield bought_A


def world():
    """Return eight domains: easy, hard and slow ones."""
    kinds = [(0.0, 0.5), (0.0, 1.0), (0.1, 1.0), (0.3, 0.5), (0.05, 2.0), (0.2, 3.0)]
    return [Domain(*kind) for kind in [*kinds, (0.3, 0.8), (0.02, 0.3)]]


def errors(domains, objective):
    error_A = [domain.error(domain.labels) for domain in domains]
    return max(error_A) if objective == "worst" else float(np.mean(error_A))


def mean_error(policy, objective, seed):
    domains = world()
    return np.mean([errors(domains, objective) for _ in campaign(domains, policy, objective, seed)])


def greedy_error(objective):
    """Return the optimum for convex curves: each label goes where it helps most."""
    domains, history = world(), []
    for _ in range(12):
        for _ in range(400):
            gains = [each.error(each.labels) - each.error(each.labels + 1) for each in domains]
            worst = [each.error(each.labels) for each in domains]
            domains[int(np.argmax(worst if objective == "worst" else gains))].labels += 1
        history.append(errors(domains, objective))
    return np.mean(history)


def test_the_default_closes_half_of_the_gap_between_an_even_split_and_the_optimum():
    even = np.mean([mean_error("uniform", "macro", seed) for seed in range(5)])
    default = np.mean([mean_error(DEFAULT, "macro", seed) for seed in range(5)])
    assert even - default >= 0.5 * (even - greedy_error("macro"))


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb", "uncertainty"])
@pytest.mark.parametrize("objective", ["macro", "worst"])
def test_no_learning_policy_does_worse_than_an_even_split(policy, objective):
    for seed in range(3):
        assert mean_error(policy, objective, seed) < mean_error("uniform", objective, seed)


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb"])
@pytest.mark.parametrize("error", [0.5, 0.9])
def test_a_domain_of_noise_gets_little_more_than_the_floor_after_five_rounds(policy, error):
    for seed in range(5):
        domains = [*world()[:7], Domain(rest=error, drop=0.0)]
        bought_RA = np.array(list(campaign(domains, policy, seed=seed)))
        assert bought_RA[5:, -1].mean() < 1.5 * 0.05 * 400


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb"])
def test_a_domain_that_learns_slowly_does_not_count_as_noise(policy):
    # an error rate of 45 % that falls by a few points over the whole campaign
    domains = [Domain(rest=0.35, drop=1.5), *(Domain(rest=0.1, drop=0.3) for _ in range(7))]
    bought_RA = np.array(list(campaign(domains, policy)))
    assert bought_RA[5:, 0].mean() > 400 / 8


def test_an_overconfident_first_model_does_not_make_a_domain_count_as_noise():
    # tweets in a real campaign: with the first point included, they would seem to get harder
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


def test_a_saturated_domain_loses_its_share():
    domains = [Domain(rest=0.0, drop=4.0), *(Domain(rest=0.25, drop=1.0) for _ in range(3))]
    first, *_, last = campaign(domains, DEFAULT, floor=0.0, rounds=20)
    assert first[0] > 100 > last[0]


@pytest.mark.parametrize("policy", ["gradient", "thompson", "ucb", "uncertainty"])
def test_a_new_domain_is_explored_in_its_first_round(policy):
    rng, domains = np.random.default_rng(0), world()
    state = BanditState()
    for _ in range(4):
        arms = [domain.context(f"t/{i}", rng) for i, domain in enumerate(domains)]
        rewards = [domain.buy(f"t/{i}", 50, rng) for i, domain in enumerate(domains)]
        state = update(observe(state, arms), rewards)
    new = arm("t/new", uncertainty=None, accuracy=None, remaining=1000)
    share_A = shares(policy, observe(state, [*arms, new]), [*arms, new], "macro")
    assert share_A[-1] > 1 / 9
