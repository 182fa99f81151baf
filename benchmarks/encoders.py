"""Do two encoders in one ensemble beat the better one, over whole campaigns?

    python -m benchmarks.encoders [--quick] [--check] [--repeats 3]

Texts (MiniLM and static vectors) and images (EfficientNet-Lite0 and gradients). `run_campaign` with
the default configuration but for its specialists, which are heads: 300 replayed labels in six
rounds, from pools of up to 2,000 samples. One head on one encoder; one head over both side by side;
a head on each, weighed by held-out predictions (stacked); and all three heads, as
`specialists: auto` has them. Area under the accuracy on up to 1,000 other samples, paired by seed.
The better encoder of a set is chosen in hindsight, by that area.

Run directories stay in the cache: an interrupted benchmark goes on where it was.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from rich.table import Table

from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.product import BUDGET, SETS, Curve, Source, campaign_of, curve_of, write_samples
from benchmarks.sets import clipart
from benchmarks.specialists import two_encoders
from umc_ray.campaign.control import share_inputs, write_variant
from umc_ray.campaign.run import Run
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.loading import load_campaign
from umc_ray.demo.fetch import cache_dir

REVISION = 2  # increase it when code that affects a campaign changes
SOURCES: Mapping[str, Source] = {
    "drawings/clipart": Source(clipart, "image"),
    **{
        name: SETS[name]
        for name in (
            "shapes/animals",
            "garments/fashion",
            "questions/trec",
            "spam/sms",
            "sentiment/amazon",
        )
    },
}
SIDE_BY_SIDE, STACKED, ALL = "side_by_side", "stacked", "all_three"
"""The ensembles; an arm with one encoder has its name."""


def run(options: Options) -> Report:
    """Run the campaigns that are not finished yet, and compare all of them."""
    names = ["spam/sms"] if options.quick else list(SOURCES)
    curves: dict[str, dict[str, list[Curve]]] = {name: {} for name in names}
    with local_ray(2):
        for seed in range(options.repeats):
            for name in names:
                for arm, curve in measure(name, seed):
                    curves[name].setdefault(arm, []).append(curve)
    workload = {"sets": len(names), **BUDGET, "seeds": options.repeats}
    return Report(workload, figures(curves), tables=[table(curves)])


def measure(name: str, seed: int) -> Iterator[tuple[str, Curve]]:
    """Run all campaigns of a set with one seed; returns their curves by arm."""
    folder = cache_dir() / "benchmarks" / "encoders" / f"{REVISION}" / name.replace("/", "-")
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        write(partial, SOURCES[name])
        partial.replace(folder)
    runs: list[Run] = []
    for arm in yaml.safe_load((folder / "arms.yaml").read_text(encoding="utf-8")):
        runs.append(Run(load_campaign(write_variant(folder / f"{arm}.yaml", "seed", seed))))
        share_inputs(runs[-1], [*_of_other_seeds(folder, arm), *reversed(runs[:-1])])
        yield arm, curve_of(runs[-1])


def _of_other_seeds(folder: Path, arm: str) -> list[Run]:
    return [Run(load_campaign(path)) for path in sorted(folder.glob(f"{arm}-seed-*.yaml"))]


def write(folder: Path, source: Source) -> None:
    """Write the samples of a set and the campaigns, the better encoder first."""
    folder.mkdir(parents=True)
    columns, labels = write_samples(folder, source)
    encoders = two_encoders("" if source.payload == "text" else b"")
    for arm, (read, heads) in arms(list(encoders)).items():
        values = campaign_of(source.payload, columns, labels)
        task = values["tasks"]["task"]
        del task["encoder"]
        task["encoders"] = {_key(each): _settings(encoders[each]) for each in read}
        task["specialists"] = {
            "-".join(map(_key, head)): {"encoder": [_key(each) for each in head]} for head in heads
        }
        values["name"] = arm
        (folder / f"{arm}.yaml").write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
    (folder / "arms.yaml").write_text(yaml.safe_dump(list(arms(list(encoders)))), "utf-8")


def arms(encoders: Sequence[str]) -> dict[str, tuple[Sequence[str], Sequence[Sequence[str]]]]:
    """Return the encoders of each arm, and what each of its heads reads; single encoders first."""
    heads: list[Sequence[str]] = [[each] for each in encoders]
    both = {SIDE_BY_SIDE: [encoders], STACKED: heads, ALL: [*heads, encoders]}
    return {
        **{_key(each): ([each], [[each]]) for each in reversed(encoders)},
        **{arm: (encoders, each) for arm, each in both.items()},
    }


def _key(name: str) -> str:
    return name.lower().replace(" ", "_")


def _settings(config: EncoderConfig) -> dict[str, object]:
    """Return what a campaign file says of an encoder: what is not the default."""
    return {**config.model_dump(exclude_unset=True), "workers": 1}


def gains(curves: Mapping[str, Sequence[Curve]], arm: str) -> list[float]:
    """Return by how much an ensemble's area exceeds that of the better encoder, by seed."""
    areas = {name: np.array([each.area for each in of]) for name, of in curves.items()}
    singles = [name for name in areas if name not in (SIDE_BY_SIDE, STACKED, ALL)]
    best = max(singles, key=lambda name: float(areas[name].mean()))
    found: list[float] = (areas[arm] - areas[best]).tolist()
    return found


def figures(sets: Mapping[str, Mapping[str, Sequence[Curve]]]) -> dict[str, Figure]:
    """Summarize each ensemble over the sets, then list what it gains on each, seed by seed."""
    found: dict[str, Figure] = {}
    for arm in (SIDE_BY_SIDE, STACKED, ALL):
        means = [float(np.mean(gains(curves, arm))) for curves in sets.values()]
        better = float(np.mean([each > 0 for each in means]))
        found[f"{arm}_worst"] = Figure("area over the better encoder's, by set", [min(means)])
        found[f"{arm}_better"] = Figure("share of the sets", [better])
        for name, curves in sets.items():
            found[f"{arm}/{name}"] = Figure("area over the better encoder's", gains(curves, arm))
    return found


def table(sets: Mapping[str, Mapping[str, Sequence[Curve]]]) -> Table:
    """Return a table of means over the seeds."""
    shown = Table(title="means over seeds", title_justify="left")
    for column in ("set", "specialists", "area", "final accuracy", "final ECE"):
        shown.add_column(column, justify="left" if column in ("set", "specialists") else "right")
    for name, curves in sets.items():
        for arm, of in curves.items():
            values = [(each.area, each.accuracy[-1], each.calibration_error) for each in of]
            shown.add_row(name, arm, *(f"{each:.3f}" for each in np.mean(values, axis=0)))
    return shown


if __name__ == "__main__":
    main("encoders", __doc__, run, repeats=3)
