"""A task of a campaign file: its encoders, its specialists, and how it was once written."""

import copy
import logging

import pytest
import yaml

from tests.config.test_campaign import TRANSFORMER, VALUES, changed, load
from umc_ray.annotation.backends.registry import BACKENDS as CLASSES
from umc_ray.config.annotation import AnnotationConfig
from umc_ray.config.backends import BACKENDS
from umc_ray.config.task import TaskConfig
from umc_ray.errors import ConfigError, DataError
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

SMALL = {"kind": "static_text", "path": "weights"}


def two_encoders(**changes):
    values = changed("tasks.topics.encoders", {"small": SMALL, "large": TRANSFORMER})
    del values["tasks"]["topics"]["encoder"]
    values["tasks"]["topics"].update(changes)
    return values


def topics(folder, values):
    return load(folder, values).tasks["topics"]


def test_a_single_encoder_is_named_after_its_kind(tmp_path):
    task = topics(tmp_path, VALUES)
    assert task.named_encoders == {"static_text": task.encoder}
    assert (task.default_encoder, task.default_encoder_config) == ("static_text", task.encoder)
    assert {each.encoder for each in task.ensemble().values()} == {"static_text"}


def test_several_encoders_have_names_and_selection_goes_by_the_first(tmp_path):
    task = topics(tmp_path, two_encoders())
    assert list(task.named_encoders) == ["small", "large"]
    assert task.default_encoder == "small"
    assert task.named_encoders["large"].path == f"{tmp_path}/large"
    assert task.default_encoder_config.path == f"{tmp_path}/weights"


def test_selection_goes_by_the_encoder_that_is_named_for_it(tmp_path):
    task = topics(tmp_path, two_encoders(selection_encoder="large"))
    assert task.default_encoder == "large"
    assert task.default_encoder_config.kind == "transformers"
    # what specialists read by default does not change with it
    assert task.ensemble()["generalist"].encoder == "small"


def test_each_encoder_has_a_specialist_per_domain_and_a_generalist(tmp_path):
    found = topics(tmp_path, two_encoders(specialists="per_domain")).ensemble()
    assert {name: (each.encoder, each.domain) for name, each in found.items()} == {
        "news": ("small", "news"),
        "forum": ("small", "forum"),
        "generalist": ("small", None),
        "large-news": ("large", "news"),
        "large-forum": ("large", "forum"),
        "large-generalist": ("large", None),
    }


def test_auto_adds_a_head_over_all_encoders_and_fine_tunes_those_with_a_network(tmp_path):
    heads = topics(tmp_path, two_encoders(specialists="per_domain")).ensemble()
    found = topics(tmp_path, two_encoders()).ensemble()
    more = {name: each for name, each in found.items() if name not in heads}
    assert {name: (each.kind, each.encoder) for name, each in more.items()} == {
        "side-by-side": ("linear", ["small", "large"]),
        "tuned-large": ("top_layers", "large"),
    }
    assert {name: found[name] for name in heads} == heads


def test_a_specialist_reads_the_encoder_it_names_or_the_first(tmp_path):
    specialists = {"a": {"encoder": "large", "kind": "mlp", "hidden": 8}, "b": {"domain": "news"}}
    found = topics(tmp_path, two_encoders(specialists=specialists)).ensemble()
    assert [each.encoder for each in found.values()] == ["large", "small"]
    assert (found["a"].kind, found["a"].hidden, found["b"].kind) == ("mlp", 8, "linear")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"selection_encoder": "medium"}, "selection_encoder names encoder medium, the task has"),
        ({"specialists": {"a": {"encoder": "medium"}}}, "names encoder medium, the task has small"),
        ({"encoders": {"small": SMALL, "eye": {"kind": "pixels"}}}, "encoder eye of kind pixels "),
        ({"encoders": {"a/b": SMALL}}, "String should match pattern"),
        ({"encoders": {}}, "a task needs encoder or, for several, encoders"),
        (
            {"specialists": {"a": {"accumulate": 2}}},
            "kind linear has no accumulate: it is an option of top_layers, lora, full",
        ),
        (
            {"specialists": {"a": {"kind": "trees", "class_weights": "balanced"}}},
            "kind trees has no class_weights: it is an option of linear, mlp, top_layers",
        ),
        (
            {"kind": "multi_label", "specialists": {"a": {"class_weights": "balanced"}}},
            "a task of kind multi_label has no single class; only classification has",
        ),
        ({"specialists": {"a": {"kind": "mlp", "rank": 4}}}, "kind mlp has no rank: it is an opt"),
        ({"specialists": {"a": {"kind": "full", "learning_rate": float("inf")}}}, "finite number"),
        ({"specialists": {}}, "specialists are none: name at least one, or leave it out"),
        ({"specialists": {"a": {"kind": "lora"}}}, "cannot train encoder small of kind static_te"),
        (
            {"specialists": {"a": {"kind": "full", "encoder": ["large", "small"]}}},
            "trains the network of one encoder, found",
        ),
    ],
)
def test_encoders_that_do_not_fit_are_told_with_a_line(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=rf"campaign\.yaml:\d+: .*{said}"):
        load(tmp_path, two_encoders(**changes))


def test_the_input_is_text_where_a_domain_names_its_column_and_else_images(tmp_path):
    assert topics(tmp_path, VALUES).payload == "text"
    values = changed("tasks.topics.encoder", {"kind": "gradients"})
    values["tasks"]["topics"]["domains"] = {"scans": {"source": "scans"}}
    assert topics(tmp_path, values).payload == "image"
    values["tasks"]["topics"]["encoder"] = SMALL
    with pytest.raises(ConfigError, match="reads text, the samples of this task are image"):
        load(tmp_path, values)


def test_the_kind_of_a_task_has_its_labels(tmp_path):
    labels = ("sport", "science")
    assert topics(tmp_path, VALUES).task_kind() == Classification(labels)
    values = changed("tasks.topics.kind", "multi_label")
    assert topics(tmp_path, values).task_kind() == MultiLabel(labels)


def test_a_kind_that_needs_labels_says_so_where_they_are_left_out(tmp_path):
    values = changed("tasks.topics.kind", "classification")
    del values["tasks"]["topics"]["labels"]
    with pytest.raises(ConfigError, match=r"tasks\.topics: labels must be at least two"):
        load(tmp_path, values)


def test_labels_that_a_kind_cannot_have_are_told_with_a_line(tmp_path):
    values = changed("tasks.topics.kind", "multi_label")
    values["tasks"]["topics"]["labels"] = ["a", "b|c"]
    with pytest.raises(ConfigError, match=r"campaign\.yaml:3: tasks\.topics: label 'b\|c' of a"):
        load(tmp_path, values)


OLD_TEXT = """\
name: first
tasks:
  topics:
    kind: text_classification
    labels: [sport, science]
    encoder: {kind: static_text, path: weights}
    specialists:
      deep:
        head: mlp
        hidden: 8
      plain: {}
    domains:
      news: {source: news.csv, text: body}
  shapes:
    kind: image_classification
    labels: [circle, square]
    encoder: {kind: pixels}
    domains:
      scans: {source: scans}
budget: {labels: 80, per_round: 40}
"""


def test_a_file_of_version_0_1_is_read_with_a_warning_per_old_key(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        config = load(tmp_path, OLD_TEXT)
    file = f"{tmp_path}/campaign.yaml"
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}:4: kind: text_classification is now kind: classification and input: text; "
        "the old name ends with version 0.3",
        f"{file}:9: head: is now kind:; the old key ends with version 0.3",
        f"{file}:15: kind: image_classification is now kind: classification and input: image; "
        "the old name ends with version 0.3",
    ]
    new = OLD_TEXT.replace("text_classification", "classification").replace("head:", "kind:")
    new = new.replace("image_classification", "classification")
    caplog.clear()
    again = load(tmp_path, new)
    assert not caplog.records
    for name, task in config.tasks.items():
        assert (task.task_kind(), task.payload) == (
            again.tasks[name].task_kind(),
            again.tasks[name].payload,
        )
        assert task.ensemble() == again.tasks[name].ensemble()
    assert config.tasks["topics"].ensemble()["deep"].kind == "mlp"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("tasks.topics.kind", ["text_classification"], "tasks.topics.kind: Input should be"),
        ("tasks.topics.kind", {"a": 1}, "tasks.topics.kind: Input should be"),
        ("tasks", ["topics"], "tasks: Input should be"),
        ("tasks.topics", "none", "tasks.topics: Input should be"),
        ("tasks.topics.specialists", {"a": {"head": "tree"}}, "specialists"),
        (
            "tasks.topics.specialists",
            {"a": {"head": "mlp", "kind": "linear"}},
            "unknown key 'head'",
        ),
    ],
)
def test_renaming_old_keys_leaves_mistakes_to_be_told(tmp_path, path, value, said):
    with pytest.raises(ConfigError, match=rf"campaign\.yaml:\d+: .*{said}") as raised:
        load(tmp_path, changed(path, value))
    assert "\n" not in str(raised.value)


def test_every_backend_has_traits_and_a_class():
    assert BACKENDS.keys() == CLASSES.keys()


@pytest.mark.parametrize(
    ("backend", "knows_answers", "shows_predictions", "votes_can_grow"),
    [
        ("replay", True, False, True),
        ("sheet", False, False, False),
        ("web", False, True, True),
        ("label_studio", False, False, True),
    ],
)
def test_what_each_backend_can_do(backend, knows_answers, shows_predictions, votes_can_grow):
    traits = AnnotationConfig(backend=backend).traits
    assert traits.knows_answers == knows_answers
    assert traits.shows_predictions == shows_predictions
    assert traits.votes_can_grow == votes_can_grow


def test_labels_must_be_readable_where_the_backend_knows_answers(tmp_path):
    values = copy.deepcopy(VALUES)
    values["annotation"] = {"backend": "replay"}
    for domain in values["tasks"]["topics"]["domains"].values():
        domain["label"] = "y"
    assert load(tmp_path, values).annotation.traits.knows_answers
    assert yaml.safe_load((tmp_path / "campaign.yaml").read_text())["annotation"]


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (["url", "label"], "domain news keeps 'label', which is a column of every release already"),
        (["entropy"], "domain news keeps 'entropy', which is a column of every release already"),
        (["url", "url"], "keep names 'url' twice; name it once"),
    ],
)
def test_a_kept_column_has_a_name_of_its_own(tmp_path, keep, message):
    with pytest.raises(ConfigError, match=message):
        topics(tmp_path, changed("tasks.topics.domains.news.keep", keep))


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ({"groups": ["sex", "sex"]}, "groups names 'sex' twice; name it once"),
        ({"groups": ["body"]}, "groups of domain news names 'body', which is part of the sample"),
        ({"groups": ["y"], "label": "y"}, "groups names 'y', the known answer"),
        (
            {"text": None, "columns": ["age", "sex"], "groups": ["sex"]},
            "'sex', .* so models see it",
        ),
    ],
)
def test_groups_are_columns_that_models_do_not_see(tmp_path, domain, message):
    news = {"source": "news.csv", "text": "body", **domain}
    with pytest.raises(ConfigError, match=message):
        topics(tmp_path, changed("tasks.topics.domains.news", news))


def test_models_see_groups_where_a_campaign_allows_it(tmp_path):
    news = {"source": "news.csv", "columns": ["age", "sex"], "groups": ["sex"]}
    values = changed("tasks.topics.domains.news", news)
    values["fairness"] = {"models_see_groups": True}
    assert topics(tmp_path, values).domains["news"].groups == ["sex"]


def test_what_is_stored_beside_samples_are_kept_columns_and_groups(tmp_path):
    news = {"source": "news.csv", "text": "body", "keep": ["url", "sex"], "groups": ["sex", "race"]}
    task = topics(tmp_path, changed("tasks.topics.domains.news", news))
    assert task.domains["news"].beside == ("url", "sex", "race")


def given(**changes):
    """The values of a task whose domain comes with embeddings."""
    task = {
        "kind": "classification",
        "labels": ["a", "b"],
        "encoder": {"kind": "given", "dimension": 3},
        "domains": {"news": {"source": "x.parquet", "text": "body", "embedding": "v"}},
    }
    return {**task, **changes}


def test_given_embeddings_stand_for_texts_and_for_images():
    assert TaskConfig.model_validate(given()).dimension == 3
    images = {"scans": {"source": "x.parquet", "image": "scan", "embedding": "v"}}
    assert TaskConfig.model_validate(given(domains=images)).payload == "image"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder": {"kind": "given"}}, "only encoder kind given has a dimension, and needs it"),
        ({"encoder": {"kind": "pixels", "dimension": 3}}, "has a dimension, and needs it: pixels"),
        (
            {"domains": {"news": {"source": "x.parquet", "text": "body"}}},
            "domain news needs embedding: the column that encoder given reads",
        ),
        (
            {"encoder": {"kind": "static_text", "path": "weights"}},
            "no encoder reads embedding of domain news: add one of kind given",
        ),
        (
            {
                "encoder": None,
                "encoders": {name: {"kind": "given", "dimension": 3} for name in ("one", "two")},
            },
            "a task can have one encoder of kind given, found one and two",
        ),
    ],
)
def test_embeddings_and_the_encoder_that_reads_them_belong_together(changes, said):
    with pytest.raises(ValueError, match=said):
        TaskConfig.model_validate(given(**changes))


def table(**changes):
    domain = {"source": "a.csv", "columns": ["age", "work"], "label": "y", **changes}
    values = changed("tasks.topics.domains", {"census": domain})
    values["tasks"]["topics"]["encoder"] = {"kind": "table"}
    return values


def test_the_samples_of_a_table_are_texts_and_its_encoder_learns_in_the_run_directory(tmp_path):
    config = load(tmp_path, table())
    task = config.tasks["topics"]
    assert task.payload == "text"
    learned = f"{config.storage}/{config.name}/encoders/topics/table.json"
    assert task.encoder.path == learned
    specialists = task.ensemble()
    assert {name: (each.kind, each.domain) for name, each in specialists.items()} == {
        "census": ("linear", "census"),
        "trees-census": ("trees", "census"),
    }


def test_several_encoders_of_a_table_learn_in_files_of_their_own(tmp_path):
    values = table()
    task = values["tasks"]["topics"]
    task["encoders"] = {"words": SMALL, "rows": task.pop("encoder")}
    task["specialists"] = "per_domain"
    found = topics(tmp_path, values)
    assert found.named_encoders["rows"].path.endswith("/encoders/topics/rows.json")
    assert found.named_encoders["words"].path == f"{tmp_path}/weights"
    assert list(found.ensemble()) == ["census", "rows-census", "rows-trees-census"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": "body"}, "a domain has text or columns, found both; remove one of them"),
        ({"columns": ["a", "a"]}, "columns names 'a' twice"),
        ({"columns": ["a: b"]}, "cannot begin with a name that has a colon"),
        ({"columns": ["a\nb"]}, "a line break"),
        ({"columns": ["y"]}, "columns names 'y', the known answer"),
        ({"columns": []}, "needs text: the column's name, or columns"),
    ],
)
def test_columns_that_cannot_be_samples_are_refused(changes, said, tmp_path):
    values = table(**changes)
    values["tasks"]["topics"]["input"] = "text"
    with pytest.raises(ConfigError) as error:
        load(tmp_path, values)
    assert said in str(error.value)


def test_an_encoder_of_a_table_has_no_path(tmp_path):
    values = table()
    values["tasks"]["topics"]["encoder"] = {"kind": "table", "path": "weights"}
    with pytest.raises(ConfigError, match="encoder kind table loads no weights; remove path"):
        load(tmp_path, values)


def pairs(folder, domains, **changes):
    named = {name: {"source": "x.csv", **each} for name, each in domains.items()}
    values = changed("tasks.topics.domains", named)
    values["tasks"]["topics"].update(changes)
    return topics(folder, values)


def test_two_columns_are_a_pair_and_the_first_domain_names_the_texts(tmp_path):
    domains = {"a": {"text": ["premise", "hypothesis"]}, "b": {"text": ["one", "other"]}}
    task = pairs(tmp_path, domains)
    assert (task.payload, task.pair) == ("text", ("premise", "hypothesis"))
    assert task.domains["b"].texts == ("one", "other")
    assert topics(tmp_path, VALUES).pair == ()


@pytest.mark.parametrize(
    ("domains", "changes", "said"),
    [
        ({"a": {"text": ["x", "y"]}, "b": {"text": "x"}}, {}, "two columns in all domains"),
        ({"a": {"text": ["x", "x"]}}, {}, "names 'x' twice"),
        ({"a": {"text": ["x", "y"], "label": "y"}}, {}, "names 'y', the known answer"),
        ({"a": {"text": ["x", "key"]}}, {}, "another column of every release"),
        ({"a": {"text": ["x", "y"], "keep": ["y"]}}, {}, "another column of every release"),
        ({"a": {"text": ["x", "y"]}}, {"encoder": {"kind": "table"}}, "are pairs of texts"),
        ({"a": {"text": "x"}}, {"range": [0, 5]}, "kind classification has no range"),
        ({"a": {"text": "x"}}, {"kind": "regression", "labels": []}, "needs range"),
    ],
)
def test_what_cannot_be_a_pair_or_a_number_is_an_error(tmp_path, domains, changes, said):
    with pytest.raises(ConfigError, match=said):
        pairs(tmp_path, domains, **changes)


def test_a_language_model_writes_no_pairs(tmp_path):
    values = changed("tasks.topics.domains", {"a": {"source": "x.csv", "text": ["x", "y"]}})
    model = {"kind": "language_model", "path": "model"}
    with pytest.raises(ConfigError, match="writes single texts, the samples of topics/a are pairs"):
        load(tmp_path, {**values, "refine": {"generators": {"writer": model}}})


def writing(folder, **changes):
    values = changed("tasks.topics.kind", "generation")
    task = values["tasks"]["topics"]
    del task["labels"]
    task |= {
        "encoders": {"small": SMALL, "large": {"kind": "transformers", "path": "large"}},
        **changes,
    }
    task.pop("encoder", None)
    task["domains"] = {"a": {"source": "x.csv", "text": "x"}}
    return topics(folder, values)


def test_texts_are_written_by_a_memory_and_by_the_network_of_each_encoder_that_has_one(tmp_path):
    found = writing(tmp_path, max_answer_bytes=80)
    assert {name: (each.kind, each.encoder) for name, each in found.ensemble().items()} == {
        "memory": ("memory", "small"),
        "writer-large": ("full", "large"),
    }
    assert found.task_kind().max_answer_bytes == 80
    assert writing(tmp_path).task_kind().max_answer_bytes == 500


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["a", "b"]}, "a generation task has no labels: leave them out"),
        (
            {"specialists": {"a": {}}},
            "cannot learn a task of kind generation: name one of kind mem",
        ),
        ({"specialists": {"a": {"kind": "top_layers", "encoder": "large"}}}, "memory, lora, full"),
        ({"specialists": {"a": {"kind": "full"}}}, "encoder small of kind static_text; kinds with"),
        (
            {"specialists": {"a": {"kind": "memory", "encoder": ["small", "large"]}}},
            "of kind memory reads one encoder, found",
        ),
        ({"max_answer_bytes": 2}, "greater than or equal to 8"),
        ({"range": [0, 1]}, "kind generation has no range"),
    ],
)
def test_what_cannot_write_texts_is_an_error(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        writing(tmp_path, **changes)


def test_only_texts_have_a_longest_answer(tmp_path):
    values = changed("tasks.topics.max_answer_bytes", 80)
    with pytest.raises(ConfigError, match="kind classification has no max_answer_bytes"):
        load(tmp_path, values)


def test_a_kind_is_made_once_for_the_same_labels_and_synonyms(tmp_path):
    config = topics(tmp_path, two_encoders())
    kind = config.task_kind()
    assert config.task_kind() is kind
    label = config.labels[0]
    renamed = config.model_copy(update={"synonyms": {"another name": label}})
    assert renamed.task_kind().parse("another name") == label
    with pytest.raises(DataError):
        config.task_kind().parse("another name")
