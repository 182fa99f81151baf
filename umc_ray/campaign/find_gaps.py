"""After each round: which patterns of the pools have too few labels, and where people look next."""

import pyarrow.compute as pc

from umc_ray.campaign.documents import Training
from umc_ray.campaign.gaps import class_name, gaps_after, lacking, pattern_name
from umc_ray.campaign.run import Run
from umc_ray.campaign.scoring import not_to_choose
from umc_ray.campaign.state import round_folder
from umc_ray.campaign.synthetic import standings_of
from umc_ray.cluster.stream import OnRows
from umc_ray.diversity.find_gaps import GapSpec, find_all
from umc_ray.diversity.gaps import DomainGaps, FoundGap, Gaps, read_centers
from umc_ray.passes.gap_candidates import GapsOfDomain, GapWorker, find_gap_candidates
from umc_ray.records import DomainKey, Part
from umc_ray.selection.labeled import labels_so_far, of_domain


def look_for_gaps(run: Run, number: int, training: Training) -> Gaps:
    """Find the gaps of all domains that models have scored."""
    labels = labels_so_far(run.storage, run.folders(number))
    before = gaps_after(run, number - 1).domains
    synthetic = standings_of(run, number)
    synthetic = synthetic.filter(pc.is_valid(synthetic["label"]))
    made = run.synthetic
    specs = [
        GapSpec(
            domain_key=key,
            kind=run.kinds[key.task],
            parts=run.pool(key),
            features=run.selection_features[key.task],
            scores=f"{round_folder(number)}/scores",
            labels=of_domain(labels, key),
            audits=training.audit_errors.get(str(key)),
            before=_gaps_of(before.get(str(key))),
            seed=run.config.seed,
            words_in="text" if run.config.tasks[key.task].payload == "text" else None,
            target=_target(run, number, key),
            groups=tuple(run.config.domain(key).groups),
            made=tuple(part for part in made if part.domain_key == key),
            synthetic=of_domain(synthetic, key),
        )
        for key in run.config.domains()
        if key.task in training.ensembles
    ]
    return find_all(specs, run.storage)


def _target(run: Run, number: int, domain_key: DomainKey) -> tuple[Part, ...]:
    """Return the parts of a domain's target set; none of one that came after the round's scores."""
    parts = run.of_split(domain_key, "target")
    table = f"{round_folder(number)}/scores"
    return parts if all(run.storage.exists(part.key(table)) for part in parts) else ()


def _gaps_of(found: DomainGaps | None) -> tuple[FoundGap, ...]:
    return () if found is None else tuple(found.gaps)


def look_into_gaps(run: Run, number: int, gaps: Gaps, on_rows: OnRows) -> int:
    """Find what is most informative in each open gap."""
    keys = [key for key in run.config.domains() if lacking(gaps, key)]
    worker = GapWorker(
        storage=run.storage,
        round=round_folder(number),
        domains={key: _of_domain(run, gaps.domains[str(key)]) for key in keys},
        kinds=run.kinds,
        features=run.selection_features,
        excluded=not_to_choose(run, number),
        acquisition=run.config.selection.acquisition,
        top=run.config.selection.candidates_per_label * run.config.budget.per_round,
    )
    parts = [part for key in keys for part in run.pool(key)]
    return find_gap_candidates(worker, parts, on_rows, run.config.placement.scoring)


def _of_domain(run: Run, found: DomainGaps) -> GapsOfDomain:
    centers = read_centers(run.storage, found.centers) if found.sought else None
    clusters = {cluster: gap.id for gap in found.sought for cluster in gap.clusters}
    return GapsOfDomain(
        centers_KD=centers,
        patterns={cluster: pattern_name(name) for cluster, name in clusters.items()},
        classes={label: class_name(label) for label in found.rare},
    )
