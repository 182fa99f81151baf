"""After the last round: how robust its models are to shifts and corruptions of their samples."""

import logging
from dataclasses import replace

from umc_ray.campaign.documents import Training
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import ROBUSTNESS, round_folder
from umc_ray.cluster.connect import connect
from umc_ray.console import counted
from umc_ray.ingest.stage import write_quarantine
from umc_ray.methods.identity import fingerprint
from umc_ray.robustness.shifts import Robustness, ShiftSpec, measure_all, read_shifts

logger = logging.getLogger(__name__)


def measure_robustness(run: Run, number: int) -> None:
    """Measure the models of a finished round once, where there is something to measure."""
    key = f"{round_folder(number)}/{ROBUSTNESS}"
    specs = _specs(run, number) if number else []
    if not specs:
        return
    wanted = _wanted(run)
    if run.storage.exists(key) and run.storage.read_record(key, Robustness).measured != wanted:
        run.storage.delete_file(key)
    if not run.storage.exists(key):
        connect()

        def measured(_: object) -> Robustness:
            return replace(measure_all(specs, run.storage), measured=wanted)

        run.stages.run(key, Robustness, measured)


def check_shifts(run: Run) -> None:
    """Read all shifts before labels are spent; rows that cannot be used go to the quarantine.

    Raises:
        DataError: the source of a shift cannot be read.
    """
    for key in run.config.domains():
        for name, found in read_shifts(run.config, key, run.storage).items():
            if found.rejected:
                where = f"quarantine/shifted/{key}/{name}.parquet"
                write_quarantine(run.storage, where, found.rejected)
                rows = counted(len(found.rejected), "row")
                logger.warning("%s, shifted %s: %s cannot be used, see %s", key, name, rows, where)


def _wanted(run: Run) -> str:
    """Name what is to be measured."""
    shifts = {str(key): run.config.domain(key).shifted for key in run.config.domains()}
    return fingerprint([shifts, run.config.robustness.model_dump()])


def _specs(run: Run, number: int) -> list[ShiftSpec]:
    training = run.storage.read_record(f"{round_folder(number)}/training.json", Training)
    specs = [
        ShiftSpec(
            config=run.config,
            domain_key=key,
            kind=run.kinds[key.task],
            ensemble=training.ensembles[key.task],
            tests=run.of_split(key, "test"),
            features=run.selection_features[key.task],
        )
        for key in run.config.domains()
        if key.task in training.ensembles
    ]
    return [
        spec
        for spec in specs
        if spec.tests and (spec.corruptions or run.config.domain(spec.domain_key).shifted)
    ]
