import copy
import re
from typing import get_args

import pytest
import yaml

from umc_ray.config.campaign import (
    AllocationConfig,
    BudgetConfig,
    CampaignConfig,
    SelectionConfig,
)
from umc_ray.config.domain import DomainConfig
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.loading import load_campaign
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.config.task import TaskConfig
from umc_ray.config.template import FILLED_IN, config_template
from umc_ray.config.template import KINDS as STARTERS
from umc_ray.errors import ConfigError
from umc_ray.methods.identity import fingerprint
from umc_ray.records import DomainKey

VALUES = {
    "name": "first",
    "tasks": {
        "topics": {
            "kind": "classification",
            "labels": ["sport", "science"],
            "encoder": {"kind": "static_text", "path": "weights"},
            "domains": {
                "news": {"source": "news.csv", "text": "body"},
                "forum": {"source": ["forum/*.jsonl", "s3://bucket/forum"], "text": "text"},
            },
        }
    },
    "budget": {"labels": 80, "per_round": 40},
}

TRANSFORMER = {"kind": "transformers", "path": "large"}


def changed(path, value):
    """The values with one of them changed; its path has dots."""
    values = copy.deepcopy(VALUES)
    *folders, last = path.split(".")
    place = values
    for folder in folders:
        place = place.setdefault(folder, {})
    place[last] = value
    return values


def load(folder, values):
    path = folder / "campaign.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values, sort_keys=False))
    return load_campaign(path)


def problems(folder, values):
    """What is wrong with a campaign file, without its name."""
    with pytest.raises(ConfigError) as raised:
        load(folder, values)
    prefix = f"{folder}/campaign.yaml:"
    lines = str(raised.value).split("\n")
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix) for line in lines]


@pytest.mark.parametrize(
    ("path", "value", "line", "said"),
    [
        ("budgets", 3, 23, ": unknown key 'budgets'"),
        ("tasks.topics.encoder.sizes", 3, 11, "tasks.topics.encoder: unknown key 'sizes'"),
        ("tasks.topics.domains.news.txt", "x", 15, "tasks.topics.domains.news: unknown key 'txt'"),
        ("name", "a/b", 1, "name: String should match pattern"),
        (
            "tasks.topics.labels",
            ["sport"],
            3,
            ": tasks.topics: labels must be at least two different names, found ['sport']",
        ),
        ("tasks.topics.labels", ["a", "a"], 3, "at least two different names, found ['a', 'a']"),
        ("tasks.topics.domains", {}, 11, "topics.domains: Dictionary should have at least 1 item"),
        ("tasks.topics.domains.news.text", None, 3, "domain news of a text task needs text"),
        ("tasks.topics.encoder.path", None, 8, "static_text needs path: the folder of its weights"),
        ("tasks.topics.specialists", {"a": {"domain": "x"}}, 3, "names domain x, the task has"),
        ("budget.labels", 0, 21, "budget.labels: Input should be greater than 0"),
        ("budget", {"labels": 3}, 20, "budget: 'per_round' is missing"),
        ("annotation.backend", "replay", 1, "replay needs label or ratings: a column of topics/"),
        ("annotation", {"backend": "web", "max_votes": 3}, 23, "max_votes 3 needs votes from 2"),
        ("annotation", {"votes": 2, "max_votes": 3}, 23, "backend sheet has a fixed number of"),
        ("annotation.skills", {"ada": ["topics/x"]}, 1, "ada has 'topics/x', which is no domain"),
        ("annotation.backend", "fax", 23, "unknown backend 'fax'; known: replay, sheet, web, lab"),
        ("tasks.topics.kind", "ranking", 3, "unknown kind 'ranking'; known: classification, mul"),
        ("tasks.topics.input", "image", 3, "encoder static_text of kind static_text reads text, "),
        ("tasks.topics.encoder", {"kind": "gradients"}, 3, "reads image, the samples of this task"),
        ("tasks.topics.encoders", {"b": TRANSFORMER}, 3, "needs encoder or, for several, encoders"),
        ("tasks.topics.encoder", None, 3, "a task needs encoder or, for several, encoders"),
        ("tasks.topics.selection_encoder", "x", 3, "names encoder x, the task has static_text"),
        ("tasks.topics.specialists", {"a": {"encoder": "x"}}, 3, "specialist a names encoder x, "),
        ("storage", "s3://bucket/runs", 1, "annotation.database must name where answers are kept"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, path, value, line, said):
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, changed(path, value))
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}/campaign.yaml:{line}: ")
    assert said in message
    assert "\n" not in message


def test_an_unknown_key_is_told_before_what_misses_for_it(tmp_path):
    values = changed("budget", {"lables": 80, "per_round": 40})
    assert problems(tmp_path, values) == [
        "21: budget: unknown key 'lables'; did you mean 'labels'?",
        "20: budget: 'labels' is missing",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold keys such as name and tasks, found None"),
        ("- 1\n", "must hold keys such as name and tasks"),
        ("name: [\n", "is not YAML: "),
    ],
)
def test_a_file_that_is_no_campaign_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_networks_that_score_candidates_need_a_head_that_finds_them(tmp_path):
    values = changed("tasks.topics.encoder", TRANSFORMER)
    values["tasks"]["topics"]["specialists"] = {"tuned": {"kind": "top_layers"}}
    values["training"] = {"rescore": "candidates"}
    (found,) = problems(tmp_path, values)
    assert "candidates needs heads that find the candidates, but all specialists of t" in found
    values["tasks"]["topics"]["specialists"]["head"] = {}
    assert load(tmp_path, values).training.rescore == "candidates"


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read campaign file .*none.yaml: No such file"):
        load_campaign(tmp_path / "none.yaml")


def test_paths_are_relative_to_the_campaign_file(tmp_path):
    config = load(tmp_path, changed("tasks.topics.domains.news.test", "/data/test.csv"))
    news, forum = (
        config.domains()[DomainKey("topics", "news")],
        config.domains()[DomainKey("topics", "forum")],
    )
    assert config.storage == f"{tmp_path}/runs"
    assert config.tasks["topics"].encoder.path == f"{tmp_path}/weights"
    assert (news.source, news.test) == (f"{tmp_path}/news.csv", "/data/test.csv")
    assert forum.source == [f"{tmp_path}/forum/*.jsonl", "s3://bucket/forum"]


def test_each_domain_has_a_specialist_and_all_a_generalist(tmp_path):
    ensemble = load(tmp_path, VALUES).tasks["topics"].ensemble()
    domains = {name: specialist.domain for name, specialist in ensemble.items()}
    assert domains == {"news": "news", "forum": "forum", "generalist": None}


def test_the_starter_holds_every_default_and_what_it_means(tmp_path):
    text = config_template()
    config, values = load(tmp_path, text), yaml.safe_load(text)
    assert list(values)[: len(FILLED_IN)] == list(FILLED_IN)
    for name in CampaignConfig.model_fields.keys() - set(FILLED_IN):
        default = CampaignConfig.model_fields[name].default
        assert getattr(config, name) == default
        if name != "seed":
            assert list(values[name]) == list(type(default).model_fields)
            for key, field in type(default).model_fields.items():
                assert not field.description or field.description in text, key


def test_the_starter_explains_every_option_of_every_part():
    text = config_template()
    for part in (BudgetConfig, TaskConfig, DomainConfig, EncoderConfig, SpecialistConfig):
        for key, field in part.model_fields.items():
            explained = f"{key}:.*# {re.escape(field.description)}" if field.description else key
            assert re.search(explained, text), key


@pytest.mark.parametrize("kind", STARTERS)
def test_there_is_a_starter_for_a_kind_of_task(tmp_path, kind):
    (task,) = load(tmp_path, config_template(kind)).tasks.values()
    assert task.kind == task.task_kind().name == kind
    with pytest.raises(ConfigError, match="unknown kind 'x'; known: classification"):
        config_template("x")


def test_every_value_of_a_choice_is_named_in_its_explanation():
    for part in (AllocationConfig, SelectionConfig):
        for key, field in part.model_fields.items():
            for value in get_args(field.annotation):
                assert not isinstance(value, str) or value in field.description, (key, value)


def test_fingerprints_tell_values_apart_and_not_the_order_of_keys():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert len({fingerprint(each) for each in ({"a": 1}, {"a": 2}, {"a": "1"}, {}, [])}) == 5


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("refine.share", "Auto", "a number from 0 to 1, or auto, in small letters; found 'Auto'"),
        (
            "tasks.topics.domains.news.shifted",
            "night.csv",
            "name each source, such as {night: night/*.csv}; found 'night.csv'",
        ),
        (
            "robustness.corruptions",
            ["blur"],
            "true or false: all are tried, or none; found ['blur']",
        ),
    ],
)
def test_what_is_written_in_another_form_is_named_in_one_line(tmp_path, key, value, message):
    (problem,) = problems(tmp_path, changed(key, value))
    assert problem.endswith(f"{key}: {message}")


def test_fairness_needs_groups_and_reweighing_classes(tmp_path):
    found = problems(tmp_path, changed("fairness.group_floor", 0.1))
    assert found == ["1: fairness.group_floor needs groups: name columns of a domain, such as "
                     "groups: [sex]"]  # fmt: skip
    values = changed("fairness", {"reweighing": 0.5, "group_floor": 0.1})
    values["tasks"]["topics"]["domains"]["news"]["groups"] = ["sex"]
    assert load(tmp_path, values).fairness.smallest_group == 30
    values["fairness"]["thresholds"] = True
    assert load(tmp_path, values).fairness.thresholds_from == 30
    values["tasks"]["topics"]["labels"] = ["sport", "science", "art"]
    (problem,) = problems(tmp_path, values)
    assert "fairness.thresholds needs two classes, but topics is a task of kind" in problem
    values["fairness"]["thresholds"] = False
    values["tasks"]["topics"]["kind"] = "multi_label"
    (problem,) = problems(tmp_path, values)
    assert "reweighing needs classes, but topics is a task of kind multi_label" in problem
