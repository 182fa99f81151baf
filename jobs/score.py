"""Score new data with the latest specialists of a campaign; all nodes need access to both.

ray job submit --address http://HEAD:8265 --working-dir . -- \
    python jobs/score.py CAMPAIGN.yaml SOURCE --domain TASK/DOMAIN --output FOLDER
"""

import argparse
import logging
import sys
from pathlib import Path

from umc_ray.bulk_scoring import score_new
from umc_ray.campaign.run import open_run
from umc_ray.cluster.connect import connect
from umc_ray.errors import UmcError
from umc_ray.records import DomainKey


def main() -> None:
    """Score the data; exits with an error if that fails."""
    parser = argparse.ArgumentParser(
        description="Score new data with the specialists of a campaign."
    )
    parser.add_argument("campaign", type=Path, help="YAML file of the campaign")
    parser.add_argument("source", help="file, glob or folder; local or s3://")
    parser.add_argument(
        "--domain", required=True, help="task/domain with the same columns as the data"
    )
    parser.add_argument("--output", required=True, help="folder to write the scores to, as Parquet")
    parser.add_argument(
        "--probabilities", action="store_true", help="add a column probability_LABEL for each label"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        run, (task, _, domain) = open_run(arguments.campaign), arguments.domain.partition("/")
        connect()
        result = score_new(
            run,
            arguments.source,
            DomainKey(task, domain),
            arguments.output,
            arguments.probabilities,
        )
        print(f"{result.rows} samples scored, {result.bad} rows in quarantine: {arguments.output}")
    except UmcError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
