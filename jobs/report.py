"""Write the report of a campaign to its storage.

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
    """Write the report; exits with an error if there is nothing to report."""
    parser = argparse.ArgumentParser(description="Write the report of a campaign.")
    parser.add_argument("campaign", type=Path, help="YAML file of the campaign")
    parser.add_argument(
        "--control",
        type=Path,
        action="append",
        default=[],
        help="YAML file of a campaign to compare with; again for each one",
    )
    arguments = parser.parse_args()
    try:
        controls = [Run(load_campaign(path)) for path in arguments.control]
        print(write_report(Run(load_campaign(arguments.campaign)), controls))
    except UmcError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
