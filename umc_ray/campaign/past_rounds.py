"""The memory of the allocator, made again from what rounds stored."""

import logging

from umc_ray.campaign.documents import Allocation, BanditUpdate
from umc_ray.campaign.state import RunState, round_folder
from umc_ray.selection.allocator import Memory, PastRound, memory_of

logger = logging.getLogger(__name__)

KEY = "bandit.json"
"""Of a run directory: the memory of its allocator."""


def remember_rounds(run: RunState) -> None:
    """Write the memory of the allocator again if it is gone and rounds were planned."""
    rounds = {} if run.storage.exists(KEY) else _past_rounds(run)
    if not rounds:
        return
    allocation, overlap = run.config.allocation, run.config.annotation.overlap
    memory: Memory = memory_of(
        rounds, allocation.policy, allocation.objective, run.config.seed, overlap
    )
    run.storage.write_record(KEY, memory)
    run.storage.seal([KEY])
    logger.warning(
        "%s of %s was gone; it is made again from %d rounds", KEY, run.storage.root, len(rounds)
    )


def _past_rounds(run: RunState) -> dict[int, PastRound]:
    """Read what rounds were planned, and their rewards."""
    found: dict[int, PastRound] = {}
    number = 1
    while run.storage.exists(f"{round_folder(number)}/allocation.json"):
        folder = round_folder(number)
        known = run.storage.read_record(f"{folder}/allocation.json", Allocation).domains
        domains = [known[str(key)] for key in run.config.domains() if str(key) in known]
        rewards = None
        if run.storage.exists(f"{folder}/bandit.json"):
            rewards = run.storage.read_record(f"{folder}/bandit.json", BanditUpdate).rewards
        labels = {each.context.name: each.labels for each in domains}
        found[number] = PastRound([each.context for each in domains], labels, rewards)
        number += 1
    return found
