"""The command `umc demo`."""

# Ray takes seconds to import, so the command imports what it needs itself: see umc_ray/cli.py.

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[Path, typer.Option(help="folder for the demo's runs")] = Path("runs"),
    diversity: Annotated[
        bool,
        typer.Option(
            "--diversity",
            help="another campaign: it looks for what is lacking, and fills it (about 2 minutes)",
        ),
    ] = False,
) -> None:
    """Download real data, and run the demo campaign against its random control."""
    from umc_ray.cluster.connect import connect
    from umc_ray.demo.diversity import run_diversity_demo
    from umc_ray.demo.show import run_demo

    connect()
    (run_diversity_demo if diversity else run_demo)(folder)
