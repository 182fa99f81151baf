"""What is asked of generators for what a domain lacks, and what the filters let pass.

Suffixes: N synthetic samples, R real samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ray

from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.content import content_checks, first_reason
from umc_ray.diversity.filters import Spaces, Verdicts, judge, label_agreement
from umc_ray.diversity.gaps import DomainGaps, read_members
from umc_ray.diversity.generators.generator import Exemplar, Generated, Payload, Request
from umc_ray.diversity.generators.registry import embed_with
from umc_ray.diversity.synthetic import Checked
from umc_ray.methods.allocation import allocate
from umc_ray.methods.identity import fingerprint
from umc_ray.records import FloatArray, Part
from umc_ray.specialists.ensemble import EnsembleRef, load_ensemble, load_heads
from umc_ray.storage import Storage
from umc_ray.tasks.task import TaskKind

EXEMPLARS = 48
"""Labeled samples of a request, at most: of its label, and as many of others."""

FEWEST_REAL = 3
"""Labeled samples with which new ones can be compared."""

PAYLOADS = {"transforms": "image", "diffusion": "image", "language_model": "text"}
"""What each kind of generator makes."""


@dataclass(frozen=True)
class Lack:
    """What a domain lacks: a class, or a pattern with samples of it; `missing` labels of it."""

    name: str
    missing: float
    labels: tuple[str, ...]  # that its samples may have
    members: tuple[Payload, ...] = ()


def lacks_of(
    found: DomainGaps,
    kind: TaskKind,
    storage: Storage,
    parts: Sequence[Part],
    column: str,
    names: Mapping[str, str],
) -> list[Lack]:
    """Return what a domain lacks, with the samples of its patterns.

    Args:
        found: the gaps and rare classes of the domain.
        kind: of its task.
        storage: the run directory.
        parts: of its pool, or of its target set if gaps are of that.
        column: of the samples themselves.
        names: by the id of a gap and by the label of a rare class.
    """
    lacks = [Lack(names[label], n, (label,)) for label, n in found.rare.items()]
    for gap in found.sought:
        members = tuple(read_members(storage, parts, column, gap))
        lacks.append(Lack(names[gap.id], gap.missing, tuple(kind.labels), members))
    return lacks


def requests_for(
    lacks: Sequence[Lack],
    exemplars: Sequence[Exemplar],
    labels: Sequence[str],
    count: int,
    seed: int,
) -> list[Request]:
    """Split a number of samples over what is lacking, and over the labels of each."""
    shares = [lack.missing for lack in lacks]
    most = [int(np.ceil(lack.missing)) for lack in lacks]
    requests = []
    for lack, n in zip(lacks, allocate(shares, count, floor=0.0, remaining_A=most), strict=True):
        usable = [each for each in lack.labels if any(e.label == each for e in exemplars)]
        even = allocate([1.0] * len(usable), int(n), floor=0.0, remaining_A=[n] * len(usable))
        for label, wanted in zip(usable, even.tolist(), strict=True):
            if wanted:
                own = [each for each in exemplars if each.label == label][:EXEMPLARS]
                others = [each for each in exemplars if each.label != label][:EXEMPLARS]
                requests.append(
                    Request(
                        gap=lack.name,
                        label=label,
                        labels=tuple(labels),
                        exemplars=(*own, *others),
                        count=wanted,
                        seed=seed,
                        members=lack.members,
                    )
                )
    return requests


@dataclass(frozen=True)
class FilterSpec:
    """What is needed to judge the samples of one request."""

    request: Request
    generated: tuple[Generated, ...]
    generator: GeneratorConfig
    kind: TaskKind
    encoders: Mapping[str, EncoderConfig]  # the first one decides what is alike
    ensemble: EnsembleRef | None
    unsafe: str | None = None  # function of the user's that refuses contents


def filter_all(specs: Sequence[FilterSpec], storage: Storage) -> list[list[Checked]]:
    """Judge the samples of all requests, in parallel."""
    judge_one = ray.remote(checked)
    return list(ray.get([judge_one.remote(spec, storage) for spec in specs]))


def checked(spec: FilterSpec, storage: Storage) -> list[Checked]:
    """Judge the samples of one request; without real samples, by their contents alone."""
    made = spec.generated
    if not made:
        return []
    payloads = [each.payload for each in made]
    embeddings = {name: embed_with(config)(payloads) for name, config in spec.encoders.items()}
    first = next(iter(spec.encoders))
    agreement_N = _agreement(spec, storage, embeddings)
    names = [_key(spec.request, row, each) for row, each in enumerate(made)]
    checks = content_checks(spec.generator.filters, spec.unsafe)
    if len(spec.request.exemplars) < FEWEST_REAL:
        return [
            Checked(name, each, refused=first_reason(checks, each.payload))
            for name, each in zip(names, made, strict=True)
        ]
    # Without samples of the gap itself, what fills it would be unlike all real ones.
    real = [*(each.payload for each in spec.request.exemplars), *spec.request.members]
    verdicts = judge(
        made,
        Spaces.of(payloads, embeddings[first]),
        Spaces.of(real, embed_with(spec.encoders[first])(real)),
        agreement_N,
        spec.generator,
        checks,
    )
    return [_checked(names[row], each, verdicts, row) for row, each in enumerate(made)]


def _agreement(
    spec: FilterSpec, storage: Storage, embeddings: Mapping[str, FloatArray]
) -> FloatArray:
    """Return the probability that the ensemble's heads give each label; NaN without heads."""
    ref = spec.ensemble
    unknown_N = np.full(len(spec.generated), np.nan, np.float32)
    if ref is None or not ref.heads:
        return unknown_N
    load = load_heads if ref.tuned else load_ensemble
    heads = load(storage, ref, spec.kind)
    if not set(heads.reads) <= embeddings.keys():
        return unknown_N
    probs_NC = heads.measures(embeddings).mean_NC.numpy()
    return label_agreement(spec.generated, probs_NC, spec.kind.labels)


def _checked(name: str, sample: Generated, verdicts: Verdicts, row: int) -> Checked:
    agreement = float(verdicts.agreement_N[row])
    return Checked(
        key=name,
        sample=sample,
        copy_ratio=float(verdicts.copy_ratio_N[row]),
        distance=float(verdicts.distance_N[row]),
        agreement=agreement if np.isfinite(agreement) else None,
        refused=verdicts.refused[row],
    )


def _key(request: Request, row: int, sample: Generated) -> str:
    """Name a sample among those of its domain; the same request names the same ones."""
    return f"{request.gap} {fingerprint([request.label, sample.seed, request.seed])[:8]}-{row}"
