"""A driver on the cluster of RAY_ADDRESS: takes passes and their folders on stdin, line by line.

python -m tests.integration.faults.driver
"""

import sys

from tests.integration.faults.passes import PASSES
from umc_ray.cluster.connect import connect
from umc_ray.errors import UmcError

ANSWER = "=> "


def main():
    connect()
    answer("ready")
    for line in sys.stdin:
        name, root = line.split()
        try:
            PASSES[name](root)
            answer("done")
        except UmcError as error:
            answer(f"{type(error).__name__}: {error}")


def answer(text):
    """Say something; Ray writes lines of its own."""
    sys.stdout.write(f"{ANSWER}{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
