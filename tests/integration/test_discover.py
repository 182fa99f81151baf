"""A pool of texts on three matters: dealt out to domains, curated, dealt out again with more."""

import csv

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file
from sklearn.metrics import adjusted_rand_score
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.tiny import BAD, GOOD, campaign, write_campaign
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.config.loading import load_campaign
from umc_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long]

MATTERS = {
    "kitchen": [
        "oven",
        "salt",
        "butter",
        "dough",
        "recipe",
        "pan",
        "onion",
        "flavour",
        "spoon",
        "simmer",
    ],
    "football": [
        "goal",
        "referee",
        "striker",
        "league",
        "penalty",
        "coach",
        "stadium",
        "corner",
        "keeper",
        "tackle",
    ],
    "computers": [
        "kernel",
        "compiler",
        "laptop",
        "cursor",
        "network",
        "disk",
        "driver",
        "thread",
        "cache",
        "boot",
    ],
}
COMMON = ["the", "and", "with", "from", "this", "that", "very", "again", "today", "still"]


def write_encoder(folder):
    """Static vectors: words of one matter point roughly one way, common words anywhere."""
    rng = np.random.default_rng(0)
    words = ["[UNK]", *COMMON, *GOOD, *BAD]
    vectors = [rng.normal(size=12) for _ in words]
    for axis, of_matter in enumerate(MATTERS.values()):
        words += of_matter
        vectors += [2 * np.eye(12)[axis] + rng.normal(size=12) for _ in of_matter]
    folder.mkdir(exist_ok=True)
    save_file({"embedding.weight": np.float32(vectors)}, folder / "model.safetensors")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def write_mixture(path, n, seed=1):
    """Write n texts on matters in turn; the first ones are the same for every n."""
    rng = np.random.default_rng(seed)
    names, truth = list(MATTERS), {}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        for i in range(n):
            truth[f"t{i}"], mood = names[i % 3], ("bad", "good")[int(rng.integers(2))]
            words = [*rng.choice(MATTERS[names[i % 3]], 5), *rng.choice(COMMON, 4)]
            words.append(rng.choice(GOOD if mood == "good" else BAD))
            writer.writerow([f"t{i}", " ".join([*rng.permutation(words), f"no{i}"]), mood])
    return truth


def dealt_out(domains):
    """Return the domain of each key, out of the sources that the lines name."""
    found = {}
    for name, domain in domains.items():
        source = Storage(domain["source"])
        for key in source.keys(""):
            found |= dict.fromkeys(source.read_table(key)["key"].to_pylist(), name)
    return found


def test_a_mixture_becomes_domains_that_stay_when_data_is_added(tmp_path, umc_here):
    values = campaign(
        tmp_path, budget={"labels": 12, "per_round": 12}, ingest={"rows_per_part": 50}
    )
    write_encoder(tmp_path / "encoder")
    mixed = {"source": "mixed.csv", "test": "test.csv"}
    mixed |= {"text": "text", "key": "id", "label": "label"}
    values["tasks"]["mood"]["domains"] = {"mixed": mixed}
    values["annotation"] = {"backend": "replay"}
    path, pool = write_campaign(tmp_path, values), tmp_path / "mixed.csv"
    lines = tmp_path / "runs/tiny-domains/mood/mixed/domains.yaml"

    write_mixture(tmp_path / "test.csv", 30, seed=2)
    truth = write_mixture(pool, 150)
    code, manifest = umc_here("discover", path, "mood/mixed")
    assert (code, "3 domains, discovered" in manifest) == (0, True)
    domains = yaml.safe_load(lines.read_text())
    first = dealt_out(domains)
    assert list(domains) == ["mixed-1", "mixed-2", "mixed-3"]
    assert first.keys() == truth.keys()
    assert adjusted_rand_score(list(truth.values()), [first[key] for key in truth]) > 0.9
    for matter in MATTERS.values():
        words = [line for line in lines.read_text().splitlines() if "; words: " in line]
        assert any(len(set(matter) & set(line.replace(",", "").split())) > 2 for line in words)

    values["tasks"]["mood"]["domains"] = domains
    run = Run(load_campaign(write_campaign(tmp_path, values)))
    run_campaign(run)
    labels = run.storage.read_table(f"{round_folder(1)}/labels.parquet")
    assert set(labels["domain"].to_pylist()) == set(domains)
    assert sum(each.test.n for each in run.round_metrics(1)[0].domains.values()) == 30

    more = write_mixture(pool, 165)
    code, manifest = umc_here("discover", path, "mood/mixed")  # which the file has no more
    assert (code, "3 domains, as discovered before" in manifest) == (0, True)
    second = dealt_out(yaml.safe_load(lines.read_text()))
    assert {key: second[key] for key in first} == first
    home = {truth[key]: name for key, name in first.items()}  # of most, if not of all
    new = [home[more[key]] == second[key] for key in more.keys() - first.keys()]
    assert (len(new), np.mean(new) > 0.8) == (15, True)

    code, manifest = umc_here("discover", path, "mood/mixed", "--clusters", 4)
    assert (code, "mood/mixed was split into 3 domains before" in manifest) == (1, True)

    values["budget"]["labels"] = 24
    grown = Run(load_campaign(write_campaign(tmp_path, values)))
    assert run_campaign(grown).rounds == 2
    assert [sum(part.rows for part in each.pools) for each in (run, grown)] == [150, 165]


def test_a_domain_that_is_not_there_is_named(tmp_path, umc_here):
    path = write_campaign(tmp_path, campaign(tmp_path))
    code, manifest = umc_here("discover", path, "mood/none")
    assert code == 1
    assert "no domain mood/none, the campaign has mood/reviews, mood/posts" in manifest
