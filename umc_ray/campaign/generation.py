"""Before a round: generators make samples of what the domains lack, for people to validate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from umc_ray.campaign.gaps import gaps_after, lack_names
from umc_ray.campaign.refill import is_on
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.campaign.synthetic import ACCEPTANCE, MADE_IN, encode_synthetic
from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.generate import generate
from umc_ray.diversity.generators.generator import Exemplar, Generated, Request
from umc_ray.diversity.generators.registry import version_of
from umc_ray.diversity.making import (
    PAYLOADS,
    FilterSpec,
    filter_all,
    lacks_of,
    requests_for,
)
from umc_ray.diversity.synthetic import Origin, write_part
from umc_ray.diversity.validation import Acceptance, SyntheticSamples
from umc_ray.methods.identity import fingerprint, uniform
from umc_ray.records import DomainKey
from umc_ray.selection.batch import not_in
from umc_ray.selection.gather import gather
from umc_ray.selection.labeled import labels_so_far, of_domain

MADE = "made.json"
"""In a round's folder, if there are generators: how many samples each made for it."""

ENOUGH = 8
"""Validated samples after which a generator whose samples are mostly rejected is given up."""

WORTHWHILE = 0.5
"""A generator is given up for a label if surely less than this share of its samples is accepted."""


@dataclass(frozen=True)
class MadeForRound:
    """made.json: how many samples each generator made, by domain, and who was given up."""

    samples: dict[str, dict[str, int]]
    given_up: list[str]


def make_synthetic(run: Run, number: int) -> None:
    """Have samples made for a round, once, if there are generators and something is lacking."""
    makers = {
        name: each for name, each in run.config.refine.generators.items() if each.kind in PAYLOADS
    }
    folder = round_folder(number)
    begun = run.storage.exists(f"{folder}/allocation.json")
    if makers and not begun:
        run.stages.run(
            f"{folder}/{MADE}",
            MadeForRound,
            lambda _: _make(run, number, makers),
            writes=MADE_IN,
        )
        encode_synthetic(run)


def _make(run: Run, number: int, makers: Mapping[str, GeneratorConfig]) -> MadeForRound:
    samples: dict[str, dict[str, int]] = {}
    given_up: list[str] = []
    for key in run.config.domains():
        exemplars = _exemplars(run, number, key)
        column = run.config.tasks[key.task].payload
        for name, config in makers.items():
            if PAYLOADS[config.kind] != column or not exemplars:
                continue
            wanted, off = _requests(run, number, key, name, exemplars)
            given_up += [f"{key}: {name} for {label}" for label in off]
            if wanted:
                made = _make_and_store(run, number, key, name, config, wanted)
                samples.setdefault(str(key), {})[name] = made
    return MadeForRound(samples, given_up)


def _requests(
    run: Run, number: int, key: DomainKey, name: str, exemplars: Sequence[Exemplar]
) -> tuple[list[Request], list[str]]:
    """Return what a generator is asked for, and the labels for which it is given up."""
    newest = run.newest(number)
    found = gaps_after(run, newest).domains.get(str(key))
    if found is None or not found.lacks:
        return [], []
    kind, column = run.kinds[key.task], run.config.tasks[key.task].payload
    lacks = lacks_of(
        found, kind, run.storage, run.of_split(key, found.of), column, lack_names(found)
    )
    lacks = [each for each in lacks if is_on(run, number, key, each.name, name)]
    count = run.config.refine.samples_per_round
    requests = requests_for(lacks, exemplars, kind.labels, count, run.config.seed)
    off = {each.label for each in _acceptance(run, newest, key, name) if is_hopeless(each)}
    return [each for each in requests if each.label not in off], sorted(off)


def _acceptance(run: Run, newest: int, key: DomainKey, name: str) -> list[Acceptance]:
    path = f"{round_folder(newest)}/{ACCEPTANCE}"
    if not run.storage.exists(path):
        return []
    groups = run.storage.read_record(path, SyntheticSamples).groups
    return [g for g in groups if (g.task, g.domain, g.generator) == (key.task, key.domain, name)]


def is_hopeless(group: Acceptance) -> bool:
    """Whether people surely reject more than half of what is made, by a random sample of it."""
    return group.rate is not None and group.drawn >= ENOUGH and group.rate.high < WORTHWHILE


def _exemplars(run: Run, number: int, key: DomainKey) -> list[Exemplar]:
    """Return a domain's labeled samples in a random order, without audits.

    A model that has learned from copies of an audit sample would be judged by it.
    """
    training = run.training(number)
    audits = None if training is None else training.audit_errors.get(str(key))
    labels = of_domain(labels_so_far(run.storage, run.folders(run.newest(number))), key)
    if audits is not None:
        labels = not_in(labels, np.array(audits.ids, np.int64))
    ids = labels["sample_id"].to_numpy()
    labels = labels.take(pa.array(np.argsort(uniform(ids, run.config.seed, "exemplars"))))
    if not len(labels):
        return []
    column = run.config.tasks[key.task].payload
    payloads = gather(run.storage, run.pool(key), "pool", labels, [column])[column].to_pylist()
    rows = zip(labels["sample_id"].to_pylist(), payloads, labels["label"].to_pylist(), strict=True)
    return [Exemplar(*row) for row in rows if row[1] is not None]  # others are forgotten


def _make_and_store(
    run: Run,
    number: int,
    key: DomainKey,
    name: str,
    config: GeneratorConfig,
    requests: Sequence[Request],
) -> int:
    """Make samples, filter them, and store each request's as a part; returns how many."""
    task, training = run.config.tasks[key.task], run.training(number)
    encoder, placement = task.default_encoder_config, run.config.placement.scoring
    made = generate(name, config, encoder, requests, run.storage, labels=placement)
    named = {task.default_encoder: encoder, **task.named_encoders}
    specs = [
        FilterSpec(
            request=request,
            generated=tuple[Generated, ...](each),
            generator=config,
            kind=run.kinds[key.task],
            encoders=named,
            ensemble=None if training is None else training.ensembles.get(key.task),
            unsafe=run.config.refine.unsafe,
        )
        for request, each in zip(requests, made, strict=True)
    ]
    of_task = [each for each in run.config.domains() if each.task == key.task]
    for request, samples in zip(requests, filter_all(specs, run.storage), strict=True):
        if samples:
            part = f"{number:04d}-{name}-{fingerprint([request.gap, request.label])[:8]}"
            origin = Origin(name, version_of(config, encoder), request.gap)
            write_part(run.storage, key, part, origin, samples, of_task)
    return sum(map(len, made))
