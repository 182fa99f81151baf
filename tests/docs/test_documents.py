"""What the documents say, held against the code: links, paths, commands, campaign files, layers."""

import re
import shlex
import tomllib

import click
import pytest
import typer
import yaml

from benchmarks.__main__ import questions
from benchmarks.frame import FOLDER
from tests.test_architecture import LAYER
from tests.tiny import ROOT
from umc_ray.cli import app
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.task import TaskConfig
from umc_ray.tasks.registry import KINDS

DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for folder in ("", "docs", "examples", "examples/*", "cluster_configs")
    for path in sorted(ROOT.glob(f"{folder}/*.md".lstrip("/")))
}
MINIMAL = {
    "name": "minimal",
    "tasks": {
        "topics": {
            "kind": "classification",
            "labels": ["sport", "science"],
            "encoder": {"kind": "static_text", "path": "weights"},
            "domains": {"news": {"source": "news.csv", "text": "body"}},
        }
    },
    "budget": {"labels": 10, "per_round": 5},
}
MAX_RESULT_LINES = 40

each_document = pytest.mark.parametrize("name", DOCUMENTS)


def blocks(text, kind=""):
    return re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL)


def prose(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(text):
    """The anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(text), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in headings)
    return {each.replace(" ", "-") for each in plain}


def commands(text, program):
    """The arguments of each call of a program in the code blocks, continued lines joined."""
    lines = "\n".join(blocks(text)).replace("\\\n", " ").splitlines()
    starts = (f"{program} ", f".venv/bin/{program} ")
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(starts)]


@each_document
def test_relative_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)]+)\)", prose(DOCUMENTS[name])):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


# The change log tells of the past.
@pytest.mark.parametrize("name", sorted(DOCUMENTS.keys() - {"CHANGELOG.md"}))
def test_paths_in_the_text_are_there(name):
    folders = "benchmarks|cluster_configs|docs|examples|jobs|tests|umc_ray"
    for path in re.findall(rf"(?<![\w/.])(?:{folders})/[\w./-]*\w", DOCUMENTS[name]):
        if "/data/" not in path and "/runs/" not in path:
            assert (ROOT / path).exists(), path


@each_document
def test_umc_knows_its_commands_and_options(name, monkeypatch):
    for variable in ("UMC_PASSWORD", "LABEL_STUDIO_API_KEY"):
        monkeypatch.setenv(variable, "secret")
    for words in commands(DOCUMENTS[name], "umc"):
        command = typer.main.get_command(app)
        while isinstance(command, click.Group) and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]
        if "--help" not in words and "--version" not in words:
            command.make_context("umc", list(words))


@each_document
def test_modules_that_are_run_are_there(name):
    for module in re.findall(r"python3? -m ([\w.]+)", DOCUMENTS[name]):
        if module.split(".")[0] in ("benchmarks", "docs", "jobs") and not module.endswith("NAME"):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or path.is_dir(), module


@each_document
def test_make_knows_its_targets(name):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    text = "\n".join([*blocks(DOCUMENTS[name]), *re.findall(r"`[^`\n]+`", DOCUMENTS[name])])
    assert set(re.findall(r"(?:^|`)make ([\w-]+)\b(?!=)", text, flags=re.MULTILINE)) <= set(targets)


@pytest.mark.parametrize("name", ["README.md", "docs/guide.md"])
def test_campaign_files_in_the_text_are_valid(name):
    for block in blocks(DOCUMENTS[name], "yaml"):
        values = yaml.safe_load(block)
        CampaignConfig.model_validate({**MINIMAL, **values})


def test_the_guide_lists_all_commands():
    listed = DOCUMENTS["docs/guide.md"].partition("\n## Commands\n")[2]
    known = typer.main.get_command(app).commands
    assert {name for name in known if f"`umc {name}" not in listed} == set()


def test_the_guide_and_the_options_list_all_kinds_of_tasks():
    rows = DOCUMENTS["docs/guide.md"].partition("\n## Labels\n")[2].partition("\n## ")[0]
    about = TaskConfig.model_fields["kind"].description
    for name in KINDS:
        assert f"| `{name}` |" in rows
        assert re.search(rf"\b{name}\b", about), "umc_ray/config/task.py"


def test_all_benchmarks_are_listed():
    table = DOCUMENTS["docs/benchmarks.md"].partition("\n## ")[0]
    assert set(re.findall(r"^\| \[(\w+)\]", table, flags=re.MULTILINE)) == set(questions(FOLDER))


def test_the_architecture_lists_all_layers():
    table = DOCUMENTS["docs/architecture.md"].partition("\n## Layers\n")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert re.findall(r"`(\w+)`", " ".join(first)) == list(LAYER)


def test_the_readme_keeps_its_results_short():
    results = DOCUMENTS["README.md"].partition("\n## Results\n")[2]
    assert len(results.splitlines()) <= MAX_RESULT_LINES


def test_the_changelog_knows_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[(.+?)\]", DOCUMENTS["CHANGELOG.md"], flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version in headings
