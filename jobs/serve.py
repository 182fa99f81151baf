"""Serve campaigns on a cluster until the job is stopped.

    ray job submit --address http://HEAD:8265 --working-dir . --no-wait -- \
        python -m jobs.serve --host 0.0.0.0 --tokens /secrets/tokens CAMPAIGN.yaml [CAMPAIGN.yaml]

All nodes must have access to the campaign files, their storage and encoders, and the tokens.
"""

import argparse
import logging
import sys
from pathlib import Path

from umc_ray.campaign.signals import wait_for_signal
from umc_ray.cluster.connect import connect
from umc_ray.errors import UmcError
from umc_ray.serving.deployment import start
from umc_ray.serving.ports import authority
from umc_ray.serving.settings import ServingConfig


def main() -> None:
    """Serve the campaigns; exits with an error if the endpoint does not start."""
    parser = argparse.ArgumentParser(description="Serve campaigns on a cluster.")
    parser.add_argument("campaigns", type=Path, nargs="+", help="YAML files of the campaigns")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--tokens", type=Path)
    parser.add_argument("--replicas", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    settings = [
        ServingConfig(campaign=path, tokens=arguments.tokens, replicas=arguments.replicas)
        for path in arguments.campaigns
    ]
    try:
        connect()
        for route in start(settings, arguments.host, arguments.port):
            print(f"http://{authority(arguments.host, arguments.port)}{route}")
    except UmcError as error:
        sys.exit(f"error: {error}")
    wait_for_signal()


if __name__ == "__main__":
    main()
