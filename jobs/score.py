"""Score new data on a cluster with a campaign's latest specialists.

    ray job submit --address http://HEAD:8265 --working-dir . -- \
        python -m jobs.score CAMPAIGN.yaml TASK/DOMAIN SOURCE OUTPUT

The cluster must see the campaign's storage, the source and the output folder.
"""

import argparse
import logging
import sys
from pathlib import Path

from umc_ray.config import load_campaign
from umc_ray.errors import UmcError
from umc_ray.pipeline.cluster import connect
from umc_ray.records import Arm
from umc_ray.run import Run
from umc_ray.scoring import score_new


def main() -> None:
    """Parse, score, and fail as a job if the scoring fails."""
    parser = argparse.ArgumentParser(description="Score new data with a campaign's specialists.")
    for name in ("campaign", "domain", "source", "output"):
        parser.add_argument(name)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        run, arm = Run(load_campaign(Path(asked.campaign))), Arm(*asked.domain.split("/", 1))
        connect()
        found = score_new(run, asked.source, arm, asked.output)
        print(f"{found.rows} samples are scored, {found.bad} rows in quarantine: {asked.output}")
    except UmcError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
