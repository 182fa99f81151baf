"""Run a campaign on a cluster; submitted again, it goes on where it stands.

    ray job submit --address http://HEAD:8265 --working-dir . -- python jobs/curate.py CAMPAIGN.yaml

The cluster must see the campaign's storage and sources. Waiting for people is a job well done.
A job that is stopped ends behind the part of the pool it works on, if RAY_JOB_STOP_WAIT_TIME_S of
the cluster's head leaves it the time for that; otherwise that part is done again.
"""

import argparse
import logging
import sys
from pathlib import Path

from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.signals import StopOnSignal
from umc_ray.campaign.stages import NULL_LISTENER
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import AwaitingAnnotations, UmcError


def main() -> None:
    """Parse, run, and fail as a job if the campaign fails."""
    parser = argparse.ArgumentParser(description="Run a campaign on a cluster.")
    parser.add_argument("campaign", type=Path, help="the campaign's YAML file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        with StopOnSignal(NULL_LISTENER) as watch:
            outcome = run_campaign(Run(load_campaign(arguments.campaign), watch))
        print(f"{outcome.rounds} rounds are done: {outcome.reason}")
    except AwaitingAnnotations as waiting:
        print(waiting)
    except UmcError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
