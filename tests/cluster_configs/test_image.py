import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "cluster_configs/Dockerfile"
BIN = Path(sys.executable).parent


def instructions():
    """Return the instructions, without comments and with continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def stages():
    """Return the instructions of each target."""
    by_target = {}
    for name, rest in instructions():
        if name == "FROM":
            by_target[rest.split(" AS ")[1]] = current = []
        current.append((name, rest))
    return by_target


@pytest.mark.skipif(not (BIN / "hadolint").exists(), reason="no hadolint for this machine")
def test_hadolint_finds_nothing():
    result = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_both_targets_install_pinned_versions_and_run_without_root():
    for target in ("cpu", "cuda"):
        (install,) = [rest for name, rest in stages()[target] if name == "RUN"]
        assert "--constraint constraints.txt" in install
        assert stages()[target][-1] == ("USER", "1000")
    assert "'.[gpu,postgres]'" in stages()["cuda"][-2][1]


def test_the_extras_exist_in_the_project():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = set(
        re.findall(r"[a-z]+", " ".join(re.findall(r"\.\[(.*?)\]", DOCKERFILE.read_text())))
    )
    assert installed == {"gpu", "postgres"}
    assert installed <= set(extras["optional-dependencies"])


def test_all_copied_files_exist_and_are_not_ignored():
    copied = [each for name, rest in instructions() if name == "COPY" for each in rest.split()[:-1]]
    assert all((ROOT / each).exists() for each in copied if each != "constraints.txt")
    ignore = (ROOT / "cluster_configs/Dockerfile.dockerignore").read_text().split()
    assert {f"!{each}" for each in copied} == {each for each in ignore if each.startswith("!")}


def test_ray_in_the_image_requires_a_token():
    (variables,) = [rest for name, rest in stages()["base"] if name == "ENV"]
    assert "RAY_AUTH_MODE=token" in variables.split()


def test_ray_accepts_the_runtime_environment():
    from ray.runtime_env import RuntimeEnv

    values = yaml.safe_load((ROOT / "cluster_configs/runtime_env.yaml").read_text())
    assert RuntimeEnv(**values)["excludes"] == values["excludes"]
