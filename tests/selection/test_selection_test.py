from dataclasses import replace

import numpy as np
import pytest

from tests.examples import shuffled
from tests.methods.test_selection_test import KIND, bought_by_margin
from umc_ray.methods.selection_test import LEVEL
from umc_ray.selection.selection_test import SelectionVerdict, compare_selection
from umc_ray.specialists.specialist import Examples

ALL = np.arange(390)


def examples(noisy, **domains):
    """Labels bought by margin, noisy ones or not; of each domain the rows named."""
    labels = bought_by_margin(noisy, seed=1)
    rows = np.concatenate(list(domains.values()))
    return Examples(
        texts_N=tuple(KIND.labels[i] for i in labels.targets[rows]),
        targets=labels.targets[rows],
        features={"words": labels.embeddings_ND[rows]},
        domains_N=np.repeat(list(domains), [len(each) for each in domains.values()]),
        ids_N=np.random.default_rng(0).permutation(len(rows)),
        audit_N=labels.random_N[rows],
        random_N=labels.random_N[rows],
        rounds_N=labels.rounds_N[rows],
        agreement_N=np.ones(len(rows), np.float32),
    )


def verdicts(samples):
    return compare_selection(samples, samples.features["words"], "mood", KIND)


def test_a_domain_is_worse_by_its_own_test_or_by_its_tasks():
    # five draws of posts cannot tell, but all 305 of the task can
    found = verdicts(examples(noisy=True, news=ALL, posts=ALL[-5:]))
    assert list(found) == ["mood/news", "mood/posts"]
    news, posts = found.values()
    assert (news.of, news.n, news.harmful) == ("news", 300, True)
    assert (posts.of, posts.n, posts.harmful) == ("mood", 305, True)
    assert max(news.p, posts.p) <= LEVEL


def test_a_domain_where_selection_pays_is_not_worse():
    found = verdicts(examples(noisy=False, posts=ALL))
    assert found["mood/posts"].of == "posts"
    assert not found["mood/posts"].harmful


def test_without_selection_there_is_no_verdict():
    samples = examples(noisy=True, posts=ALL)
    assert verdicts(replace(samples, random_N=np.ones(390, np.bool_))) == {}


@pytest.mark.parametrize("order", [1, 2])
def test_the_verdict_does_not_hang_on_the_order_of_the_labels(order):
    samples = examples(noisy=True, posts=ALL)
    rows = np.random.default_rng(order).permutation(390)
    moved = shuffled(samples, rows)
    found, again = (verdicts(each)["mood/posts"] for each in (samples, moved))
    assert again.harmful == found.harmful
    assert again.n == found.n


def test_a_verdict_is_said_in_a_sentence():
    verdict = SelectionVerdict(of="posts", n=90, selected=54, random=63, p=0.004, harmful=True)
    assert str(verdict) == (
        "of 90 random samples of posts, a model taught by selected ones had 60% right, "
        "one taught by as many random ones 70%"
    )
