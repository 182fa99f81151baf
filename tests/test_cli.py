"""The command line, without running any campaign."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.tiny import campaign, start_umc, write_campaign
from umc_ray.campaign.answer_store import open_store
from umc_ray.campaign.commands import publish
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError
from umc_ray.report.status import STATUS, Status, stamp
from umc_ray.storage import Storage


def test_the_command_line_imports_neither_torch_nor_ray():
    code = "import sys, umc_ray.cli; print(*sorted({'ray', 'torch'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


COMMANDS = """
import sys, umc_ray.cli
for line in sys.argv[1].splitlines():
    sys.argv = line.split()
    try:
        umc_ray.cli.main()
    except SystemExit as end:
        assert not end.code, line
print("imported:", *sorted({"alembic", "ray", "torch"} & set(sys.modules)))
"""


def test_what_only_reads_or_writes_a_few_rows_imports_neither_torch_nor_ray(tmp_path, monkeypatch):
    path = write_campaign(tmp_path, campaign(tmp_path, annotation={"backend": "web"}))
    config = load_campaign(path)
    open_store(config).close()  # migrated, as after any other command
    nothing = Status(stamp(Storage(config.run_root), config, 0), 0, {}, ("a line",))
    Storage(config.run_root).write_record(STATUS, nothing)
    changed = campaign(tmp_path, annotation={"backend": "web"}, seed=5)
    assert write_campaign(tmp_path, changed) == path
    assert load_campaign(path) != config
    monkeypatch.setenv("UMC_PASSWORD", "correct horse")
    lines = ["umc --help", f"umc status {path}", f"umc account {path} ada --role admin"]
    result = subprocess.run(
        [sys.executable, "-c", COMMANDS, "\n".join(lines)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a line" in result.stdout
    assert result.stdout.splitlines()[-1].strip() == "imported:"


def test_the_version_is_the_one_of_the_package():
    output, _ = start_umc("--version").communicate()
    assert output.strip() == version("umc_ray")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Missing argument"),
        (["rum"], "No such command"),
        (["run", "--fast", "x"], "--fast"),
        (["serve", "--port", "99999", "x"], "65535"),
        (["annotate", "--port", "0", "x"], "--port"),
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


def test_a_round_to_publish_is_named_once(tmp_path):
    with pytest.raises(ConfigError, match=r"--round and --rollback .*: give one of them"):
        publish(tmp_path / "campaign.yaml", 1, rollback=True)
