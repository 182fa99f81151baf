"""Two campaigns that differ in `allocation.objective` only, and what their report says of it."""

import numpy as np
import pytest

from tests.report.test_report import read
from tests.tiny import BAD, GOOD, PLAIN, campaign, texts, write_campaign, write_jsonl
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.report.report import write_report

pytestmark = [pytest.mark.ray, pytest.mark.long]

EASY, HARD = "mood/reviews", "mood/posts"
TWO_ROUNDS = {"labels": 60, "per_round": 30}
ONE_PART = {"rows_per_part": 400}


def hard_texts(n, seed):
    """Rows with words of both kinds, of which the label's are one more, among many plain ones."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        good = bool(rng.integers(2))
        most, least = (GOOD, BAD) if good else (BAD, GOOD)
        words = [
            *rng.choice(most, 2),
            *rng.choice(least, 1),
            *rng.choice(PLAIN, 20),
            f"h{seed}x{i}",
        ]
        rows.append({"text": " ".join(words), "label": "good" if good else "bad"})
    return rows


def run(folder, objective):
    """Run the tiny campaign over a large easy domain and a small hard one."""
    values = campaign(
        folder,
        name=objective,
        allocation={"objective": objective},
        budget=TWO_ROUNDS,
        ingest=ONE_PART,
    )
    write_jsonl(folder / "reviews.jsonl", texts(240, seed=1))
    write_jsonl(folder / "posts.jsonl", hard_texts(120, seed=3))
    write_jsonl(folder / "posts_test.jsonl", hard_texts(60, seed=4))
    posts = {"source": "posts.jsonl", "test": "posts_test.jsonl", "text": "text", "label": "label"}
    values["tasks"]["mood"]["domains"]["posts"] = posts
    values["tasks"]["mood"]["specialists"] = {"generalist": {}}
    opened = Run(load_campaign(write_campaign(folder, values, f"{objective}.yaml")))
    run_campaign(opened)
    return opened


def test_the_worst_domain_gets_more_labels_where_it_counts_and_the_report_says_what_came_of_it(
    ray_cluster, tmp_path
):
    pooled, worst = run(tmp_path, "pooled"), run(tmp_path, "worst")
    bought = [each.domains[HARD].labels for each in map(last_metrics, (pooled, worst))]
    assert bought[0] < bought[1]

    write_report(worst, [pooled])
    page = read(worst)
    assert "The allocation objective is worst: only the worst domain counts." in page.text()
    for opened, labels in zip((pooled, worst), bought, strict=True):
        name, domains = opened.config.name, last_metrics(opened).domains
        easy, hard = (domains[key].test.utility.value for key in (EASY, HARD))
        assert hard < easy
        row = page.row(name)
        assert row[1] == name  # what was asked for is the campaign's name here
        means = (2 * easy + hard) / 3, (easy + hard) / 2, hard
        assert [cell.split()[0] for cell in row[3:6]] == [f"{mean:.1%}" for mean in means]
        assert row[6:] == [HARD, str(labels)]


def last_metrics(opened):
    return opened.round_metrics(2)[-1]
