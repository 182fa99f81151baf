"""Score new data with a campaign's latest specialists, on a cluster that sees both.

ray job submit --address http://HEAD:8265 --working-dir . -- \
    python jobs/score.py CAMPAIGN.yaml SOURCE --domain TASK/DOMAIN --output FOLDER
"""

import argparse
import logging
import sys
from pathlib import Path

from umc_ray.bulk_scoring import score_new
from umc_ray.campaign.run import Run
from umc_ray.cluster.connect import connect
from umc_ray.config.loading import load_campaign
from umc_ray.errors import UmcError
from umc_ray.records import DomainKey


def main() -> None:
    """Parse, score, and fail as a job if the scoring fails."""
    parser = argparse.ArgumentParser(description="Score new data with a campaign's specialists.")
    parser.add_argument("campaign", type=Path, help="the campaign's YAML file")
    parser.add_argument("source", help="files, glob or folder; local or s3://")
    parser.add_argument("--domain", required=True, help="task/domain whose columns the data has")
    parser.add_argument("--output", required=True, help="folder for the scores, as Parquet")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        run, (task, _, domain) = Run(load_campaign(asked.campaign)), asked.domain.partition("/")
        connect()
        found = score_new(run, asked.source, DomainKey(task, domain), asked.output)
        print(f"{found.rows} samples are scored, {found.bad} rows in quarantine: {asked.output}")
    except UmcError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
