"""After the last round: how robust its models are to shifts and corruptions of their samples."""

from umc_ray.campaign.documents import Training
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import ROBUSTNESS, round_folder
from umc_ray.cluster.connect import connect
from umc_ray.robustness.shifts import Robustness, ShiftSpec, measure_all


def measure_robustness(run: Run, number: int) -> None:
    """Measure the models of a finished round once, where there is something to measure."""
    folder = round_folder(number)
    specs = _specs(run, number) if number else []
    if specs and not run.storage.exists(f"{folder}/{ROBUSTNESS}"):
        connect()
        run.stages.run(
            f"{folder}/{ROBUSTNESS}", Robustness, lambda _: measure_all(specs, run.storage)
        )


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
