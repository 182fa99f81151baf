import re
import shlex
from pathlib import Path

import pytest
from ray.dashboard.modules.job.cli import submit
from ray.scripts.scripts import start

from tests.cluster_configs.test_grafana import EXPORTED

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "cluster_configs"
README = (CONFIGS / "README.md").read_text()
TEXTS = {"README.md": README, "laptop.md": (CONFIGS / "laptop.md").read_text()}


def commands(text):
    """Return the lines of all code blocks, with continued lines joined."""
    blocks = re.findall(r"```\n(.*?)```", text, flags=re.DOTALL)
    return "\n".join(blocks).replace("\\\n", " ").splitlines()


def test_each_file_is_explained():
    names = {
        path.name for path in CONFIGS.rglob("*") if path.suffix in (".yaml", ".json", ".sbatch")
    }
    assert {name for name in names if name not in README} == set()


@pytest.mark.parametrize("name", TEXTS)
def test_all_links_and_paths_exist(name):
    links = re.findall(r"\]\(([\w./]+)\)", TEXTS[name])
    assert all((CONFIGS / link).exists() for link in links)
    paths = re.findall(r"cluster_configs/[\w./]+\w", TEXTS[name])
    assert paths
    assert all((ROOT / path).exists() for path in paths)


@pytest.mark.parametrize("name", TEXTS)
def test_ray_accepts_the_options_in_the_commands(name):
    seen = set()
    for line in commands(TEXTS[name]):
        for program, command in (("ray job submit", submit), ("ray start", start)):
            if program in line:
                words = shlex.split(line.partition(program)[2], comments=True)
                command.make_context(program, words)
                seen.add(program)
    assert "ray job submit" in seen


def test_all_metrics_are_listed():
    names = {re.sub("_(bucket|count|sum)$", "", name) for name in EXPORTED}
    assert set(re.findall(r"`(ray_umc_\w+)`", README)) == names
