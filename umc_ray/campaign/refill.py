"""Before a round: what is done about what is lacking.

With `refine.share: auto`, methods/refill.py decides what the search and each generator get, by what
heads with and without their samples say of held-out labels. A decision is stored in the folder of
its round, once. With a fixed share the search gets what people do not validate.
"""

from dataclasses import dataclass

from umc_ray.campaign.gaps import gaps_after, lacking
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import VALIDATION, RunState, round_folder
from umc_ray.methods.refill import SEARCH, Arm, Trial, decide
from umc_ray.records import DomainKey

REFILL = "refill.json"
"""In a round's folder, if `refine.share` is auto: what is done about what is lacking."""


@dataclass(frozen=True)
class Refill:
    """refill.json: what is decided for a round, by domain."""

    domains: dict[str, list[Arm]]


def refill_of(run: RunState, number: int) -> Refill:
    """Return what was decided for a round; nothing, if its share is fixed."""
    key = f"{round_folder(number)}/{REFILL}"
    return run.storage.read_record(key, Refill) if run.storage.exists(key) else Refill({})


def tried_so_far(run: RunState, rounds: int) -> list[tuple[str, Arm]]:
    """Return what was last decided about each arm up to a round, with the names of their domains.

    That is also there of what is not lacking any more.
    """
    found: dict[tuple[str, str, str], Arm] = {}
    for number in range(1, rounds + 1):
        for domain, arms in refill_of(run, number).domains.items():
            found |= {(domain, arm.lack, arm.action): arm for arm in arms if arm.state != "waits"}
    return [(domain, arm) for (domain, _, _), arm in found.items()]


def decide_refill(run: Run, number: int) -> None:
    """Decide for a round, once, if the campaign leaves it to what pays."""
    if run.config.refine.share == "auto":
        key = f"{round_folder(number)}/{REFILL}"
        run.stages.run(key, Refill, lambda _: _decide(run, number))


def _decide(run: Run, number: int) -> Refill:
    newest, training = run.newest(number), run.training(number)
    shown = {} if training is None else training.refill
    before, found = refill_of(run, number - 1).domains, gaps_after(run, newest)
    actions = [SEARCH, *run.config.refine.generators]
    domains = {}
    for key in map(str, run.config.domains()):
        missing = lacking(found, DomainKey.named(key))
        trials = {
            (each.lack, each.action): Trial(each.rounds, each.gain) for each in shown.get(key, [])
        }
        domains[key] = decide(
            before.get(key, []), missing, actions, trials, number, run.config.seed
        )
    return Refill(domains)


def is_on(run: Run, number: int, domain_key: DomainKey, lack: str, action: str) -> bool:
    """Whether an action for something that is lacking may get labels in a round."""
    if run.config.refine.share != "auto":
        return True
    arms = refill_of(run, number).domains.get(str(domain_key), [])
    return any((arm.lack, arm.action) == (lack, action) and arm.share > 0 for arm in arms)


def share_to_validate(run: Run, number: int) -> float:
    """Return the largest share of a round's labels that people may validate samples with."""
    share = run.config.refine.share
    if share != "auto":
        return share
    domains = refill_of(run, number).domains
    arms = [arm for own in domains.values() for arm in own if arm.action != SEARCH]
    return sum(arm.share for arm in arms) / max(1, len(domains))


def search_shares(run: Run, number: int, domain_key: DomainKey, labels: int) -> dict[str, float]:
    """Return the shares of a round's labels that go to the search for what a domain lacks.

    Args:
        run: the campaign.
        number: of the round.
        domain_key: the domain.
        labels: of the round, without what people validate.
    """
    missing = lacking(gaps_after(run, run.newest(number)), domain_key)
    key = f"{round_folder(number)}/{VALIDATION}"
    validated = len(run.storage.read_table(key)) if run.storage.exists(key) else 0
    of_all = (labels + validated) / max(1, labels)
    share = run.config.refine.share
    if share == "auto":
        arms = refill_of(run, number).domains.get(str(domain_key), [])
        return {
            arm.lack: arm.share * of_all
            for arm in arms
            if arm.action == SEARCH and arm.share and arm.lack in missing
        }
    left = max(0.0, share * of_all - validated / max(1, labels))
    total = sum(missing.values())
    return {name: left * n / total for name, n in missing.items() if left}
