"""The command line, without running any campaign."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.tiny import start_umc


def test_the_command_line_imports_neither_torch_nor_ray():
    code = "import sys, umc_ray.cli; print(*sorted({'ray', 'torch'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_the_version_is_the_one_of_the_package():
    output, _ = start_umc("--version").communicate()
    assert output.strip() == version("umc_ray")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Missing argument"),
        (["rum"], "No such command"),
        (["run", "--fast", "x"], "--fast"),
    ],
)
def test_a_wrong_command_line_is_one_message_and_exit_code_2(arguments, said):
    process = start_umc(*arguments)
    output, _ = process.communicate()
    assert process.returncode == 2
    assert said in output
    assert "Traceback" not in output


def test_help_lists_the_commands():
    process = start_umc("--help")
    output, _ = process.communicate()
    assert process.returncode == 0
    for name in ("init", "run", "status", "serve", "annotate", "labelstudio", "release"):
        assert name in output
