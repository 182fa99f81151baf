"""Write requirements/: what `make` and images install, each version with the hashes of its files.

`make lock` calls it. Versions are those of constraints.txt. torch is apart: that of PyPI comes with
CUDA, a torch without CUDA is not on PyPI. The hashes of its wheels come from the folders in
PIP_FIND_LINKS, from its own index if that can be reached, and from what requirements/ has already.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu/torch/"
TIMEOUT_S = 10

TORCH = re.compile(r"(torch==|nvidia-|cuda-|triton==)")
BUILD = re.compile(r"setuptools==")

TOOLS = ("pip-audit", "cyclonedx-bom", "uv")
"""What `make audit`, `make sbom` and `make lock` call."""

NOT_WITH_GPUS = re.compile(r"^pandas==.*\n", re.MULTILINE)
"""In constraints.txt: cuDF, which cuML needs, takes an older one."""

Pins = dict[str, str]
"""By name and version, the lines of a requirement: its marker and hashes."""


def main() -> None:
    """Resolve, split, and write."""
    ours = ("pyproject.toml", "--constraint", "constraints.txt")
    runtime, everything = resolved(*ours), resolved(*ours, "--extra", "dev")
    FOLDER.mkdir(exist_ok=True)
    write("build.txt", {k: v for k, v in runtime.items() if BUILD.match(k)})
    write("torch.txt", {k: v for k, v in runtime.items() if TORCH.match(k)})
    write("torch-cpu.txt", _cpu_torch())
    write("runtime.txt", {k: v for k, v in runtime.items() if not TORCH.match(k)})
    postgres = without(runtime, resolved(*ours, "--extra", "postgres"))
    write("postgres.txt", postgres)
    new = without(runtime | postgres, everything)
    write("dev.txt", new, first="--requirement runtime.txt\n--requirement postgres.txt\n")
    write("gpu.txt", without(runtime, _for_gpus()))
    write("tools.txt", resolved("-", given="\n".join(TOOLS)))


def without(known: Pins, pins: Pins) -> Pins:
    """Return the pins that are not known."""
    return {key: lines for key, lines in pins.items() if key not in known}


def resolved(*asked: str, given: str = "") -> Pins:
    """Return what uv finds for all platforms and Python versions."""
    command = ["uv", "pip", "compile", *asked, "--generate-hashes", "--universal"]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    found = subprocess.run(
        command, cwd=ROOT, input=given, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    pins = re.findall(r"^([^ \n]+==[^ \n]+)(.*\n(?:    .*\n)*)", found, re.MULTILINE)
    return {name.lower(): name + rest for name, rest in pins}


def write(file: str, pins: Pins, first: str = "") -> None:
    """Write a file of requirements."""
    head = "# Written by .ci/lock.py from pyproject.toml and constraints.txt: `make lock`.\n"
    (FOLDER / file).write_text(head + first + "".join(pins[key] for key in sorted(pins)))


def _for_gpus() -> Pins:
    """Return what is installed with the extra `gpu`."""
    constraints = NOT_WITH_GPUS.sub("", (ROOT / "constraints.txt").read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(constraints)
        file.flush()
        return resolved("pyproject.toml", "--constraint", file.name, "--extra", "gpu")


def _cpu_torch() -> Pins:
    """Return a torch without CUDA, with the hashes that are known."""
    pin = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pin is not None
    name, hashes = f"torch=={pin[1]}+cpu", {*_local(pin[1]), *_of_index(pin[1]), *_known(pin[1])}
    lines = [name, *(f"    --hash=sha256:{each}" for each in sorted(hashes))]
    return {name: " \\\n".join(lines) + "\n"}


def _local(version: str) -> list[str]:
    folders = map(Path, os.environ.get("PIP_FIND_LINKS", "").split())
    wheels = [file for folder in folders for file in folder.glob(f"torch-{version}+cpu-*.whl")]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in wheels]


def _of_index(version: str) -> list[str]:
    try:
        with urllib.request.urlopen(TORCH_INDEX, timeout=TIMEOUT_S) as answer:
            page = answer.read().decode()
    except OSError as error:
        sys.stderr.write(f"{TORCH_INDEX} cannot be reached ({error}): its hashes stay\n")
        return []
    return re.findall(rf"torch-{re.escape(version)}(?:%2B|\+)cpu-[^\"]*#sha256=(\w+)", page)


def _known(version: str) -> list[str]:
    file = FOLDER / "torch-cpu.txt"
    text = file.read_text() if file.exists() else ""
    return re.findall(r"sha256:(\w+)", text) if f"torch=={version}+cpu " in text else []


if __name__ == "__main__":
    main()
