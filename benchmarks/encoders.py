"""Does a pretrained image encoder pay, and a second encoder in the ensemble?

    python -m benchmarks.encoders [--quick] [--check] [--repeats 3]

Drawings in color of eight kinds, from a Debian package. Whole campaigns through the product
(replayed labels, 300 in six rounds), paired by seed: edges of small images (gradients), a network
pretrained on ImageNet (efficientnet_lite), and both in one ensemble. Accuracy on half of the
drawings, which are never selected.
"""

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.sets import CLIPART_FOLDERS, Labeled, clipart
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.demo.fetch import cache_dir
from umc_ray.demo.models import chosen_models, prepare_model

BUDGET = {"labels": 300, "per_round": 50, "audit": 0.1}
ENSEMBLES = {
    "gradients": ["gradients"],
    "pretrained": ["pretrained"],
    "both": ["pretrained", "gradients"],
}


def run(options: Options) -> Report:
    """Run the campaigns."""
    drawings = clipart()
    kept = 400 if options.quick else len(drawings)
    accuracy: dict[str, list[float]] = {name: [] for name in ENSEMBLES}
    area: dict[str, list[float]] = {name: [] for name in ENSEMBLES}
    with local_ray(2), tempfile.TemporaryDirectory(prefix="umc") as folder:
        for seed in range(options.repeats):
            shuffled = random.Random(seed).sample(drawings, kept)
            for name, encoders in ENSEMBLES.items():
                place = Path(folder) / f"{name}-{seed}"
                curve = campaign(
                    place, shuffled[: kept // 2], shuffled[kept // 2 :], encoders, seed
                )
                accuracy[name].append(curve[-1])
                area[name].append(float(np.mean(curve)))
    figures = {}
    for name in ENSEMBLES:
        figures[f"{name}_accuracy"] = Figure("0 to 1", accuracy[name])
        figures[f"{name}_accuracy_area"] = Figure("0 to 1, mean of the rounds", area[name])
    for name in ("pretrained", "both"):
        gain = np.subtract(accuracy[name], accuracy["gradients"])
        figures[f"{name}_gain"] = Figure("accuracy over gradients", gain.tolist())
    workload = {"drawings": kept, "kinds": len(CLIPART_FOLDERS), "seeds": options.repeats}
    return Report({**workload, **BUDGET}, figures)


def campaign(
    folder: Path, pool: list[Labeled], test: list[Labeled], encoders: list[str], seed: int
) -> list[float]:
    """Run a campaign; returns the accuracy after each round."""
    folder.mkdir()
    for name, rows in (("pool", pool), ("test", test)):
        payloads, kinds = zip(*rows, strict=True)
        pq.write_table(pa.table({"image": payloads, "kind": kinds}), folder / f"{name}.parquet")
    (weights,) = chosen_models(["efficientnet-lite0"])
    known: dict[str, dict[str, Any]] = {
        "gradients": {"kind": "gradients", "workers": 1},
        "pretrained": {
            "kind": "efficientnet_lite",
            "path": str(prepare_model(weights, cache_dir())),
            "workers": 1,
        },
    }
    values: dict[str, Any] = {
        "name": "drawings",
        "seed": seed,
        "tasks": {
            "drawings": {
                "kind": "classification",
                "labels": sorted(set(CLIPART_FOLDERS.values())),
                "encoders": {name: known[name] for name in encoders},
                "domains": {
                    "clipart": {
                        "source": "pool.parquet",
                        "test": "test.parquet",
                        "image": "image",
                        "label": "kind",
                    }
                },
            }
        },
        "budget": BUDGET,
        "annotation": {"backend": "replay"},
    }
    (folder / "campaign.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    run = Run(load_campaign(folder / "campaign.yaml"))
    metrics = run.round_metrics(run_campaign(run).rounds)
    tests = [each.domains["drawings/clipart"].test for each in metrics]
    return [test.utility.value for test in tests if test is not None]


if __name__ == "__main__":
    main("encoders", __doc__, run, repeats=3)
