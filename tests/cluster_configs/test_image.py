import re
import subprocess
import sys
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


def installs(target):
    """Return the options of each call of pip, and the files of requirements that it installs."""
    runs = " && ".join(rest for name, rest in stages()[target] if name == "RUN")
    calls = [each.split() for each in runs.split(" && ") if each.startswith("pip install")]
    names = [re.findall(r"requirements/(\S+)\.txt", " ".join(call)) for call in calls]
    return list(zip(calls, names, strict=True))


@pytest.mark.parametrize(
    ("target", "files"),
    [
        ("base", [["build"]]),
        ("cpu", [["runtime", "postgres", "torch-cpu"], []]),
        ("cuda", [["runtime", "postgres", "torch"], ["gpu"], []]),
    ],
)
def test_images_install_by_hashes_and_run_without_root(target, files):
    assert [names for _, names in installs(target)] == files
    for call, names in installs(target):
        assert all((ROOT / f"requirements/{name}.txt").exists() for name in names)
        assert ("--require-hashes" in call) == bool(names)
        assert ("--no-deps" in call and call[-1] == ".") == (not names)
    assert target == "base" or stages()[target][-1] == ("USER", "1000")


def test_all_copied_files_exist_and_are_not_ignored():
    copied = [each for name, rest in instructions() if name == "COPY" for each in rest.split()[:-1]]
    assert all((ROOT / each).exists() for each in copied)
    ignore = (ROOT / "cluster_configs/Dockerfile.dockerignore").read_text().split()
    assert {f"!{each}" for each in copied} == {each for each in ignore if each.startswith("!")}


def test_ray_in_the_image_requires_a_token():
    (variables,) = [rest for name, rest in stages()["base"] if name == "ENV"]
    assert "RAY_AUTH_MODE=token" in variables.split()


def test_ray_accepts_the_runtime_environment():
    from ray.runtime_env import RuntimeEnv

    values = yaml.safe_load((ROOT / "cluster_configs/runtime_env.yaml").read_text())
    assert RuntimeEnv(**values)["excludes"] == values["excludes"]
