"""How many labels do whole campaigns save, run as users run them?

    python -m benchmarks.product [--quick] [--check] [--repeats 5]

`run_campaign` from the sources to the last evaluation, with the default configuration and replayed
labels: 300 in six rounds, from pools of 2,000 real samples. Each campaign is paired by seed with
the product's own control, which draws at random: the same samples, specialists and budget. On short
texts it is also paired with the same campaign without fine-tuned specialists. Accuracy on 1,000
other samples. Pool and test of a set are the same for all seeds, which decide all random draws of a
campaign.

Run directories stay in the cache: an interrupted benchmark goes on where it was.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.table import Table
from scipy.stats import ttest_rel

from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.sets import (
    Labeled,
    drawings,
    garments,
    incomes,
    messages,
    numbers,
    questions,
    sentence_encoder,
    sentiment_texts,
    silhouettes,
)
from benchmarks.verdict import SIGNIFICANT, holm
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.control import Variant, share_inputs, write_variant
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.demo.fetch import cache_dir
from umc_ray.methods.savings import aulc, labels_to_reach

REVISION = 2  # increase it when code that affects a campaign changes
POOL, TEST = 2000, 1000
BUDGET = {"labels": 300, "per_round": 50, "audit": 0.1}
DEFAULT, RANDOM, HEADS = "default", "random", "heads"


@dataclass(frozen=True)
class Source:
    """A data set: how it is read, and what its payloads are."""

    read: Callable[[], list[Labeled]]
    payload: str  # text, image or columns
    clean: bool = True


SETS: Mapping[str, Source] = {
    "digits/scans": Source(lambda: drawings("scans"), "image"),
    "digits/strokes": Source(lambda: drawings("strokes"), "image"),
    "shapes/animals": Source(silhouettes, "image"),
    "garments/fashion": Source(garments, "image"),
    "land/satellite": Source(lambda: numbers("satimage"), "columns"),
    "letters/fonts": Source(lambda: numbers("letter"), "columns"),
    "questions/trec": Source(questions, "text"),
    "spam/sms": Source(messages, "text"),
    "income/adult": Source(lambda: incomes()[0], "columns", clean=False),
    "sentiment/amazon": Source(lambda: sentiment_texts("amazon"), "text", clean=False),
    "sentiment/tweets": Source(lambda: sentiment_texts("tweets"), "text", clean=False),
}
QUICK = ("digits/scans", "land/satellite")


@dataclass(frozen=True)
class Curve:
    """What the test says of a campaign after each round."""

    labels: list[int]
    accuracy: list[float]
    calibration_error: float  # in the last round

    @property
    def area(self) -> float:
        """Mean accuracy over the numbers of labels."""
        return aulc(self.labels, self.accuracy)


Curves = Mapping[str, Sequence[Curve]]
"""Of one set, by arm, in the order of the seeds."""


def run(options: Options) -> Report:
    """Run the campaigns that are not finished yet, seed by seed, and compare all of them."""
    names = QUICK if options.quick else tuple(SETS)
    curves: dict[str, dict[str, list[Curve]]] = {name: {} for name in names}
    with local_ray(2):
        for seed in range(options.repeats):
            for name in names:
                for arm, curve in measure(name, seed):
                    curves[name].setdefault(arm, []).append(curve)
    workload = {"sets": len(names), "pool": POOL, "test": TEST, **BUDGET, "seeds": options.repeats}
    return Report(workload, figures(curves), tables=[table(curves)])


def measure(name: str, seed: int) -> Iterator[tuple[str, Curve]]:
    """Run all campaigns of a set with one seed; returns their curves by arm."""
    folder = cache_dir() / "benchmarks" / "product" / f"{REVISION}" / name.replace("/", "-")
    source = SETS[name]
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        write(partial, source)
        partial.replace(folder)
    arms: dict[str, tuple[str, Variant]] = {
        DEFAULT: ("campaign", "seed"),
        RANDOM: ("campaign", "control"),
    }
    if source.payload == "text":
        arms[HEADS] = ("heads", "seed")
    runs: list[Run] = []
    for arm, (file, variant) in arms.items():
        path = write_variant(folder / f"{file}.yaml", variant, seed)
        runs.append(Run(load_campaign(path)))
        share_inputs(runs[-1], [*runs[:-1], *_others(folder)])
        yield arm, curve_of(runs[-1])


def _others(folder: Path) -> list[Run]:
    return [Run(load_campaign(path)) for path in sorted(folder.glob("campaign-seed-*.yaml"))]


def write(folder: Path, source: Source) -> None:
    """Write the samples of a set, and its campaign with and without fine-tuned specialists."""
    folder.mkdir(parents=True)
    columns, labels = write_samples(folder, source)
    values = campaign_of(source.payload, columns, labels)
    for name, specialists in (("campaign", "auto"), ("heads", "per_domain")):
        values["name"], values["tasks"]["task"]["specialists"] = name, specialists
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def write_samples(folder: Path, source: Source) -> tuple[list[str], list[str]]:
    """Write pool and test of a set; returns the names of the payload's columns, and the labels."""
    rows = list(dict.fromkeys(source.read()))
    order = np.random.default_rng(0).permutation(len(rows))[: POOL + TEST]
    tests = min(TEST, len(order) // 2)
    for name, chosen in (("test", order[:tests]), ("pool", order[tests:])):
        payloads, answers = zip(*(rows[row] for row in chosen), strict=True)
        columns = _columns(source.payload, payloads)
        pq.write_table(pa.table({**columns, "label": answers}), folder / f"{name}.parquet")
    return list(columns), sorted({label for _, label in rows})


def _columns(payload: str, payloads: Sequence[Any]) -> dict[str, Sequence[Any]]:
    if payload != "columns":
        return {payload: payloads}
    return {f"column {i}": values for i, values in enumerate(zip(*payloads, strict=True))}


def campaign_of(payload: str, columns: list[str], labels: list[str]) -> dict[str, Any]:
    """Return a campaign with the default configuration."""
    encoders = {
        "text": sentence_encoder().model_dump(include={"kind", "path", "max_tokens"}),
        "image": {"kind": "gradients"},
        "columns": {"kind": "table"},
    }
    what = {"columns": columns} if payload == "columns" else {payload: payload}
    domain = {"source": "pool.parquet", "test": "test.parquet", "label": "label", **what}
    return {
        "seed": 0,
        "tasks": {
            "task": {
                "kind": "classification",
                "labels": labels,
                "encoder": encoders[payload],
                "domains": {"domain": domain},
            }
        },
        "budget": BUDGET,
        "annotation": {"backend": "replay"},
    }


def curve_of(run: Run) -> Curve:
    """Run a campaign to its end, if it is not finished, and read what its test says."""
    metrics = run.round_metrics(run_campaign(run).rounds)
    tests = [each.domains["task/domain"].test for each in metrics]
    qualities = [test for test in tests if test is not None]
    return Curve(
        [each.labels for each in metrics],
        [each.utility.value for each in qualities],
        qualities[-1].ece,
    )


def saved(curve: Curve, control: Curve) -> float:
    """Return the share of all labels that a campaign does without for its control's final accuracy.

    A campaign that does not hold that accuracy for two rounds has saved nothing.
    """
    labels = labels_to_reach(curve.labels, curve.accuracy, control.accuracy[-1])
    return 0.0 if labels is None else 1 - labels / control.labels[-1]


def figures(sets: Mapping[str, Curves]) -> dict[str, Figure]:
    """Summarize all sets, then list what each gains, seed by seed."""
    clean = [float(np.median(_saved(sets[name]))) for name in sets if SETS[name].clean]
    worse = [name for name, (gain, p) in _verdicts(sets).items() if gain < 0 and p < SIGNIFICANT]
    errors = [
        float(np.mean([curve.calibration_error for curve in curves[DEFAULT]]))
        for curves in sets.values()
    ]
    found = {
        "clean_saved": Figure("of all labels, by set", clean),
        "worse_than_random": Figure("sets", [float(len(worse))]),
        "largest_ece": Figure("in the last round", [max(errors)]),
    }
    for name, curves in sets.items():
        found[f"saved/{name}"] = Figure("of all labels", _saved(curves))
        found[f"gain/{name}"] = Figure("area over random's", _gains(curves, RANDOM))
        if HEADS in curves:
            found[f"over_heads/{name}"] = Figure("area over heads'", _gains(curves, HEADS))
    return found


def _saved(curves: Curves) -> list[float]:
    pairs = zip(curves[DEFAULT], curves[RANDOM], strict=True)
    return [saved(curve, control) for curve, control in pairs]


def _gains(curves: Curves, control: str) -> list[float]:
    pairs = zip(curves[DEFAULT], curves[control], strict=True)
    return [curve.area - other.area for curve, other in pairs]


def _verdicts(sets: Mapping[str, Curves]) -> dict[str, tuple[float, float]]:
    """Return the mean gain over random and its p value, corrected for the number of sets."""
    gains = {name: _gains(curves, RANDOM) for name, curves in sets.items()}
    corrected = holm({name: _p(each) for name, each in gains.items()})
    return {name: (float(np.mean(each)), corrected[name]) for name, each in gains.items()}


def _p(gains: Sequence[float]) -> float:
    """Return the p value of a paired t test; 1 where one seed says nothing."""
    return float(ttest_rel(gains, np.zeros(len(gains))).pvalue) if len(gains) > 1 else 1.0


def table(sets: Mapping[str, Curves]) -> Table:
    """Return a table of means over the seeds, in points; savings are medians."""
    shown = Table(title="accuracy after the last label; areas in points", title_justify="left")
    for column in ("set", "random", "heads", "default", "area", "p", "over heads", "saved", "ECE"):
        shown.add_column(column, justify="left" if column == "set" else "right")
    verdicts = _verdicts(sets)
    for name, curves in sets.items():
        final = {
            arm: f"{np.mean([each.accuracy[-1] for each in of]):.3f}" for arm, of in curves.items()
        }
        gain, p = verdicts[name]
        over = f"{100 * np.mean(_gains(curves, HEADS)):+.1f}" if HEADS in curves else ""
        errors = [each.calibration_error for each in curves[DEFAULT]]
        cells = [final[RANDOM], final.get(HEADS, ""), final[DEFAULT]]
        cells += [f"{100 * gain:+.1f}", f"{p:.3f}", over]
        cells += [f"{np.median(_saved(curves)):.0%}", f"{np.mean(errors):.3f}"]
        shown.add_row(name, *cells)
    return shown


if __name__ == "__main__":
    main("product", __doc__, run, repeats=5)
