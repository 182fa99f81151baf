"""The demo of the second loop: what is lacking, what is tried for it, and what that gives."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.control import share_inputs
from umc_ray.campaign.documents import Fairness, RoundMetrics
from umc_ray.campaign.history import History
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import FAIRNESS, round_folder
from umc_ray.config.loading import load_campaign
from umc_ray.console import ProgressDisplay, console, counted, print_line
from umc_ray.demo import digits
from umc_ray.demo.fetch import cache_dir, fetch
from umc_ray.demo.planted import (
    FEW,
    FEW_SHARE,
    GIVEN,
    GIVEN_LACKING,
    TURNED,
    TURNED_SHARE,
    UPRIGHT,
    Drawing,
    plant,
)
from umc_ray.demo.prepare import prepare_one
from umc_ray.demo.stand_in import StandIn
from umc_ray.errors import AwaitingAnnotations
from umc_ray.methods.identity import sample_ids
from umc_ray.records import DomainKey
from umc_ray.report.refill import Attempt, Lack, lacks
from umc_ray.report.report import write_report

PLANTED = (
    f"The digits are real, what they lack is planted: {TURNED_SHARE:.0%} of the scans are {TURNED} "
    f"and {FEW_SHARE:.0%} of the strokes are a {FEW}, but only {GIVEN_LACKING} of the {GIVEN} "
    "labels with which each domain begins.",
    "Nobody is asked: recorded labels stand in for people, and for a synthetic sample the labels "
    "of the real ones that it resembles most.",
)
PEERS: Mapping[str, Mapping[str, Any]] = {
    "random draws": {"name": "diversity-random", "selection": {"strategy": "random"}},
    "default selection": {"name": "diversity-default"},
}
"""The same campaign without its second loop, with as many questions."""


def run_diversity_demo(folder: Path) -> None:
    """Plant lacks in real digits, run the campaign and its peers, and print the results."""
    folder.mkdir(parents=True, exist_ok=True)
    console.print("downloading the demo's digits from PyPI (only the first time)")
    cache = cache_dir()
    data = folder / "diversity-data"
    known = plant(data, prepare_one("digits", cache), fetch(digits.WHEEL, cache))
    for line in PLANTED:
        print_line(line)
    campaign = write_campaign(folder, data)
    run, reason = _play(campaign, known)
    peers = {
        name: _play(write_peer(campaign, changes, run.spent()), known, [run])[0]
        for name, changes in PEERS.items()
    }
    report = write_report(run)
    found = lacks(History.of(run))
    console.print(tried_table(found))
    for line in truth_lines(found, known):
        print_line(line)
    console.print(results_table({**peers, "this campaign": run}))
    print_line(f"the campaign ended after {counted(run.finished_rounds, 'round')}: {reason}")
    print_line(f"report: {report}")


def write_campaign(folder: Path, data: Path) -> Path:
    """Write the campaign file; return its path."""
    text = files("umc_ray.demo").joinpath("diversity.yaml").read_text(encoding="utf-8")
    path = folder / "diversity.yaml"
    path.write_text(text.replace("{data}", data.name), encoding="utf-8")
    return path


def write_peer(campaign: Path, changes: Mapping[str, Any], questions: int) -> Path:
    """Write a campaign that asks as many questions, all of them about the pool."""
    values = yaml.safe_load(campaign.read_text(encoding="utf-8"))
    for name in ("refine", "stop"):
        values.pop(name)
    values["budget"]["labels"] = questions
    path = campaign.with_name(f"{changes['name']}.yaml")
    path.write_text(yaml.safe_dump({**values, **changes}, sort_keys=False), encoding="utf-8")
    return path


def _play(
    campaign: Path, known: Mapping[str, Sequence[Drawing]], before: Sequence[Run] = ()
) -> tuple[Run, str]:
    """Run a campaign to its end; returns it, and why it ended."""
    with ProgressDisplay() as listener:
        run = Run(load_campaign(campaign), listener)
        console.print(f"[bold]{run.config.name}[/]")
        share_inputs(run, before)
        stand_in = StandIn(run, known)
        while True:
            try:
                return run, run_campaign(run).reason
            except AwaitingAnnotations:
                stand_in.answer()


def tried_table(found: Sequence[Lack]) -> Table:
    """List what was lacking, and what was tried."""
    table = Table(title="what was lacking, and what was tried", title_justify="left")
    for name in ("domain", "lacking", "found", "closed", "labels of the pool", "synthetic samples"):
        table.add_column(name)
    for lack in found:
        closed = "still open" if lack.closed is None else f"after round {lack.closed}"
        made = "; ".join(map(_made, lack.attempts)) or "none"
        found_in = f"after round {lack.since}" if lack.since else "at the start"
        table.add_row(lack.domain, lack.seen.name, found_in, closed, str(lack.searched), made)
    return table


def _made(attempt: Attempt) -> str:
    return (
        f"{attempt.generator}: {attempt.made} made, {attempt.validated} validated, "
        f"{attempt.used} used"
    )


def truth_lines(found: Sequence[Lack], known: Mapping[str, Sequence[Drawing]]) -> Iterator[str]:
    """Say how many samples of each gap are what was planted, which the campaign does not know."""
    for lack in found:
        if lack.seen.gap is not None:
            key, members = DomainKey.named(lack.domain), set(lack.seen.gap.members)
            drawings = known[key.domain]
            ids = sample_ids(key.task, key.domain, "pool", [each.key for each in drawings])
            styles = [d.style for i, d in zip(ids.tolist(), drawings, strict=True) if i in members]
            of_all = f"{styles.count(TURNED)} of its {len(styles)} most typical samples"
            yield f"{lack.seen.name}: {of_all} are {TURNED}"


def results_table(runs: Mapping[str, Run]) -> Table:
    """Compare test results at the start and at the end of each run."""
    *_, last = runs.values()
    table = Table(title=f"on the tests, after {last.spent()} questions", title_justify="left")
    table.add_column("")
    for name in ("at the start", *runs):
        table.add_column(name, justify="right")
    columns = [test_results(last, 0)]
    columns += [test_results(run, run.finished_rounds) for run in runs.values()]
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.3f}" for column in columns))
    return table


def test_results(run: Run, number: int) -> dict[str, float]:
    """Return what the models of a round achieve for what was lacking, and overall."""
    folder = round_folder(number)
    domains = run.storage.read_record(f"{folder}/metrics.json", RoundMetrics).domains
    fairness = run.storage.read_record(f"{folder}/{FAIRNESS}", Fairness)
    styles = fairness.domains["digits/scans"].quality
    strokes = domains["digits/strokes"].test
    assert styles is not None and strokes is not None  # both have a test
    of_style = {each.name: each.utility.value for each in styles.groups}
    return {
        f"scans, {TURNED}: accuracy": of_style[TURNED],
        f"scans, {UPRIGHT}: accuracy": of_style[UPRIGHT],
        f"strokes, {FEW}: recall": strokes.figures[f"recall of {FEW}"].value,
        "strokes, all: accuracy": strokes.utility.value,
    }
