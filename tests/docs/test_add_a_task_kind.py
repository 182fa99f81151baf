"""The worked example of docs/add-a-task-kind.md, added to a copy of umc_ray as it stands there."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.tiny import ROOT

TEXT = (ROOT / "docs/add-a-task-kind.md").read_text(encoding="utf-8")


def block(kind):
    return re.search(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)[1]


def apply(diff, root):
    """Replace what the hunks of a diff find; it must be there once."""
    for file in re.split(r"^--- .*\n", diff, flags=re.MULTILINE)[1:]:
        name, *hunks = re.split(r"^@@ .*\n", file, flags=re.MULTILINE)
        path = root / name.removeprefix("+++ b/").strip()
        for hunk in hunks:
            before, after = (
                "".join(line[1:] or "\n" for line in hunk.splitlines(True) if line[0] != sign)
                for sign in "+-"
            )
            text = path.read_text(encoding="utf-8")
            assert text.count(before) == 1, hunk
            path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.mark.slow
def test_the_worked_example_passes_the_tests_of_kinds(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "runs")
    for folder in ("umc_ray", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    apply(block("diff"), tmp_path)
    (tmp_path / "umc_ray/tasks" / "rating.py").write_text(block("python"), encoding="utf-8")
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-n0",
            "-k",
            "rating",
            "tests/tasks",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
