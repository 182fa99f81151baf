"""Does selection pay where a sample has any number of labels?

    python -m benchmarks.multi_label [--quick] [--check] [--repeats 3]

Descriptions of Debian packages with their Debtags, as the apt cache of this machine has them: the
25 most frequent tags of the facets field, use and works-with, for the packages that have one of
them. What the mirror serves drifts, so the workload names the hash of the texts and tags.
Whole campaigns through the product (static word vectors, replayed tags, 300 labels in six rounds),
paired by seed: the default strategy by two acquisition functions, and random samples. Micro F1 and
the Jaccard index on 1,500 packages that are never selected.
"""

import hashlib
import json
import random
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.frame import Figure, Options, Report, local_ray, main
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.documents import RoundMetrics
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.demo.fetch import cache_dir
from umc_ray.demo.models import MODELS, prepare_model

FACETS = ("field", "use", "works-with")
LABELS, POOL, TEST = 25, 4000, 1500
BUDGET = {"labels": 300, "per_round": 50, "audit": 0.1}
SELECTIONS: dict[str, dict[str, str]] = {
    "random": {"strategy": "random"},
    "margin": {},
    "entropy": {"acquisition": "entropy"},
}

Sample = tuple[str, list[str]]  # text, tags


def run(options: Options) -> Report:
    """Run the campaigns."""
    samples, labels = debtags()
    pool, test = (600, 200) if options.quick else (POOL, TEST)
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in SELECTIONS}
    with local_ray(2), tempfile.TemporaryDirectory(prefix="umc") as folder:
        for seed in range(options.repeats):
            shuffled = random.Random(seed).sample(samples, pool + test)
            for name, selection in SELECTIONS.items():
                place = Path(folder) / f"{name}-{seed}"
                metrics = campaign(place, shuffled[:pool], shuffled[pool:], labels, selection, seed)
                for figure, value in measured(metrics).items():
                    figures[name].setdefault(figure, []).append(value)
    found = {
        f"{name}_{figure}": Figure("0 to 1", values)
        for name, by_figure in figures.items()
        for figure, values in by_figure.items()
    }
    for name in ("margin", "entropy"):
        for figure, values in figures[name].items():
            gain = np.subtract(values, figures["random"][figure])
            found[f"{name}_gain_{figure}"] = Figure("over random", gain.tolist())
    workload = {"snapshot": snapshot_hash(samples), "pool": pool, "test": test, "labels": labels}
    return Report({**workload, **BUDGET, "seeds": options.repeats}, found)


def debtags() -> tuple[list[Sample], list[str]]:
    """Read descriptions and tags out of the apt cache; returns the samples and the label set."""
    command = ["apt-cache", "dumpavail"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tagged = [each for block in text.split("\n\n") if (each := parse(block)) is not None]
    counts = Counter(tag for _, tags in tagged for tag in tags)
    labels = sorted(tag for tag, _ in counts.most_common(LABELS))
    kept = sorted({text: [t for t in tags if t in labels] for text, tags in tagged}.items())
    return [(text, tags) for text, tags in kept if tags], labels


def parse(block: str) -> Sample | None:
    """Read a package: its description without the name, and its tags of FACETS."""
    fields: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if line.startswith(" "):
            fields[name] += line
        elif ": " in line:
            name, fields_value = line.split(": ", 1)
            fields[name] = fields_value
    tags = [tag.strip() for tag in fields.get("Tag", "").split(",")]
    tags = [tag for tag in tags if tag.partition("::")[0] in FACETS]
    return (fields["Description"], tags) if tags and "Description" in fields else None


def snapshot_hash(samples: list[Sample]) -> str:
    """Name the data."""
    return hashlib.blake2b(json.dumps(samples).encode(), digest_size=8).hexdigest()


def campaign(
    folder: Path,
    pool: list[Sample],
    test: list[Sample],
    labels: list[str],
    selection: dict[str, str],
    seed: int,
) -> list[RoundMetrics]:
    """Run a campaign; returns the metrics of its rounds."""
    folder.mkdir()
    for name, samples in (("pool", pool), ("test", test)):
        lines = (json.dumps({"text": text, "tags": tags}) for text, tags in samples)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wordllama = prepare_model(MODELS[0], cache_dir())
    domain = {"source": "pool.jsonl", "test": "test.jsonl", "text": "text", "label": "tags"}
    values: dict[str, Any] = {
        "name": "tags",
        "seed": seed,
        "tasks": {
            "tags": {
                "kind": "multi_label",
                "labels": labels,
                "encoder": {"kind": "static_text", "path": str(wordllama), "workers": 1},
                "domains": {"packages": domain},
            }
        },
        "budget": BUDGET,
        "selection": selection,
        "annotation": {"backend": "replay"},
    }
    (folder / "campaign.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    run = Run(load_campaign(folder / "campaign.yaml"))
    rounds = run_campaign(run).rounds
    return run.round_metrics(rounds)


def measured(metrics: list[RoundMetrics]) -> dict[str, float]:
    """Return figures of the last round, and the mean of micro F1 over the rounds."""
    tests = [each.domains["tags/packages"].test for each in metrics]
    micro = [test.figures["micro F1"].value for test in tests if test is not None]
    last = tests[-1]
    assert last is not None
    return {
        "micro_f1": micro[-1],
        "macro_f1": last.figures["macro F1"].value,
        "jaccard": last.utility.value,
        "micro_f1_area": float(np.mean(micro)),
    }


if __name__ == "__main__":
    main("multi_label", __doc__, run, repeats=3)
