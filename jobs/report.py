"""Write a campaign's report beside what it has stored.

ray job submit --address http://HEAD:8265 --working-dir . -- \
        python -m jobs.report CAMPAIGN.yaml [--control CONTROL.yaml]
"""

import argparse
import sys
from pathlib import Path

from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import UmcError
from umc_ray.report.report import write_report


def main() -> None:
    """Parse, write, and fail as a job if there is nothing to report."""
    parser = argparse.ArgumentParser(description="Write a campaign's report.")
    parser.add_argument("campaign", type=Path, help="the campaign's YAML file")
    parser.add_argument("--control", type=Path, help="the file of a campaign to compare with")
    asked = parser.parse_args()
    try:
        control = None if asked.control is None else Run(load_campaign(asked.control))
        print(write_report(Run(load_campaign(asked.campaign)), control))
    except UmcError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
