"""Campaign files as people write them: all mistakes at once, each with its line."""

import pytest

from tests.config.test_campaign import problems
from umc_ray.config.loading import load_campaign
from umc_ray.config.yaml_file import read_yaml
from umc_ray.errors import ConfigError
from umc_ray.records import DomainKey

HEAD = """\
name: x
budget: {labels: 20, per_round: 10}
tasks:
  t:
    kind: classification
"""
TAIL = """\
    encoder: {kind: static_text, path: models/small}
    domains:
"""
LABELS = "    labels: [a, b]\n"
NEWS = "      news: {source: a.csv, text: body}\n"


def test_yes_and_no_have_to_be_quoted_as_labels_and_as_a_domain(tmp_path):
    text = f"{HEAD}    labels: [yes, no]\n{TAIL}      no: {{source: a.csv, text: body}}\n"
    assert problems(tmp_path, text) == [
        '9: a key of domains: YAML reads no as true or false; put it in quotes: "no"',
        '6: tasks.t.labels.0: YAML reads yes as true or false; put it in quotes: "yes"',
        '6: tasks.t.labels.1: YAML reads no as true or false; put it in quotes: "no"',
    ]


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        ("on", "true or false"),
        ("Off", "true or false"),
        ("1", "a number"),
        ("1.5", "a number"),
        ("12:30", "a number"),
        ("2024-05-06", "a date"),
        ("~", "nothing"),
    ],
)
def test_what_yaml_does_not_read_as_text_has_to_be_quoted(tmp_path, value, read_as):
    said = f'YAML reads {value} as {read_as}; put it in quotes: "{value}"'
    labels = f"{HEAD}    labels:\n    - b\n    - {value}\n{TAIL}{NEWS}"
    assert problems(tmp_path, labels) == [f"8: tasks.t.labels.1: {said}"]
    domain = f"{HEAD}{LABELS}{TAIL}{NEWS.replace('news', value)}"
    assert problems(tmp_path, domain)[0] == f"9: a key of domains: {said}"
    source = f"{HEAD}{LABELS}{TAIL}{NEWS.replace('a.csv', value)}"
    assert problems(tmp_path, source) == [f"9: tasks.t.domains.news.source: {said}"]
    column = NEWS.replace("body}", f"body, label: {value}}}")
    if value != "~":  # without a column is what null says
        text = f"{HEAD}{LABELS}{TAIL}{column}"
        assert problems(tmp_path, text) == [f"9: tasks.t.domains.news.label: {said}"]
    task = f"{HEAD.replace('  t:', f'  {value}:')}{LABELS}{TAIL}{NEWS}"
    assert problems(tmp_path, task)[0] == f"4: a key of tasks: {said}"


def test_quoted_they_are_text(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(f"{HEAD}    labels: ['yes', \"1\", '2024-05-06']\n{TAIL}{NEWS}")
    assert load_campaign(path).tasks["t"].labels == ["yes", "1", "2024-05-06"]


def test_a_key_that_is_given_twice_is_told_with_both_lines(tmp_path):
    assert problems(tmp_path, f"{HEAD}{LABELS}{TAIL}{NEWS}{NEWS}") == [
        "10: the key 'news' is given twice, first in line 9; remove one"
    ]
    assert problems(tmp_path, f"{HEAD}{LABELS}{TAIL}{NEWS}name: y\nname: z\n") == [
        "10: the key 'name' is given twice, first in line 1; remove one",
        "11: the key 'name' is given twice, first in line 1; remove one",
    ]
    assert problems(tmp_path, HEAD + LABELS + TAIL + NEWS.replace("text: body", "text: a, text: b"))


def test_an_anchor_that_is_used_twice_is_no_key_given_twice(tmp_path):
    path = tmp_path / "campaign.yaml"
    more = "      news: &it {source: a.csv, text: body}\n      forum: *it\n"
    more += "      mail: {<<: *it, text: other}\n"
    path.write_text(f"{HEAD}{LABELS}{TAIL}{more}")
    found = load_campaign(path).domains()
    texts = [found[DomainKey("t", name)].text for name in ("news", "forum", "mail")]
    assert texts == ["body", "body", "other"]


def test_a_file_in_another_encoding_names_the_byte(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_bytes(f"# first\n# Kommentar: schön\n{HEAD}{LABELS}{TAIL}{NEWS}".encode("latin-1"))
    with pytest.raises(ConfigError) as raised:
        load_campaign(path)
    start = f"{path}:2: byte 0xF6 at position 17 of the line is not UTF-8; save the file as UTF-8"
    assert str(raised.value).startswith(start)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_does_no_harm(tmp_path, encoding):
    path = tmp_path / "campaign.yaml"
    path.write_bytes(f"{HEAD}    labels: [süß, café]\n{TAIL}{NEWS}".encode(encoding))
    assert load_campaign(path).tasks["t"].labels == ["süß", "café"]


@pytest.mark.parametrize("value", ["2024-13-45", "[", "{a: b", "'open", "!!python/none x"])
def test_what_is_no_yaml_is_one_error(tmp_path, value):
    path = tmp_path / "campaign.yaml"
    path.write_text(f"name: {value}\n")
    with pytest.raises(ConfigError, match=r"campaign\.yaml.* is not YAML: "):
        load_campaign(path)


def test_an_image_encoder_cannot_read_texts(tmp_path):
    text = f"{HEAD}{LABELS}    encoder: {{kind: gradients}}\n    domains:\n{NEWS}"
    (said,) = problems(tmp_path, text)
    assert said.startswith("4: tasks.t: encoder gradients of kind gradients reads image, the sam")


def test_two_unknown_keys_are_told_with_their_lines(tmp_path):
    text = f"{HEAD}{LABELS}    objektive: 3\n    knid: 4\n{TAIL}{NEWS}"
    assert problems(tmp_path, text) == [
        "7: tasks.t: unknown key 'objektive'; did you mean 'objective'?",
        "8: tasks.t: unknown key 'knid'; did you mean 'kind'?",
    ]


def test_an_unknown_key_hides_nothing_that_is_checked_later(tmp_path):
    text = (
        f"{HEAD}    labels: [a]\n    knid: 4\n    encoder: {{kind: pixels}}\n    domains:\n{NEWS}"
    )
    said = problems(tmp_path, f"{text}      forum: {{source: b.csv}}\n")
    assert [line.partition(":")[0] for line in said] == ["4", "4", "7"]
    assert "labels must be at least two different names" in said[0]
    assert "encoder pixels of kind pixels reads image" in said[1]
    assert "unknown key 'knid'" in said[2]


def test_of_the_types_that_a_value_may_have_the_one_that_was_meant_is_told(tmp_path):
    text = f"{HEAD}{LABELS}    specialists: {{a: {{kind: deep}}}}\n{TAIL}{NEWS}"
    assert problems(tmp_path, text) == [
        "7: tasks.t.specialists.a.kind: Input should be 'linear', 'mlp', 'trees', 'memory', "
        "'top_layers', 'lora' or 'full'"
    ]
    text = f"{HEAD}{LABELS}    specialists: {{a: {{head: mlp, kind: mlp}}}}\n{TAIL}{NEWS}"
    assert problems(tmp_path, text) == ["7: tasks.t.specialists.a: unknown key 'head'"]
    news = NEWS.replace("a.csv", "[a.csv, 3]")
    assert problems(tmp_path, f"{HEAD}{LABELS}{TAIL}{news}") == [
        '9: tasks.t.domains.news.source.1: YAML reads 3 as a number; put it in quotes: "3"'
    ]
    news = NEWS.replace("text: body", "text: [a, b, c]")
    assert problems(tmp_path, f"{HEAD}{LABELS}{TAIL}{news}") == [
        "9: tasks.t.domains.news.text: List should have at most 2 items after validation, not 3"
    ]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("encoding: cp125", "unknown encoding: cp125; name an encoding such as cp1252"),
        ("encoding: base64", "'base64' is not a text encoding; name an encoding such as cp1252"),
        ("encoding: idna", "'idna' is not a text encoding"),
        ("encoding: undefined", "'undefined' is not a text encoding"),
        ('encoding: "utf-8\\0"', "unknown encoding: utf-8"),
        ("delimiter: ';;'", "String should have at most 1 character"),
        ("delimiter: '\"'", "delimiter cannot be"),
        ("label_names: [a, b]", "label_names needs label"),
        ("label: y, label_names: [a, xyz]", "label_names of domain news: label 'xyz' is not"),
        ("label: y, label_names: {0: a, 0: b}", "the key '0' is given twice"),
    ],
)
def test_a_table_cannot_be_read_in_a_way_that_does_not_exist(tmp_path, option, said):
    news = NEWS.replace("body}", f"body, {option}}}")
    assert said in problems(tmp_path, f"{HEAD}{LABELS}{TAIL}{news}")[0]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("[a, b]", {"0": "a", "1": "b"}),
        ("{7: a, 3: b, -1: A}", {"7": "a", "3": "b", "-1": "A"}),
        ("{'x': a}", {"x": "a"}),
    ],
)
def test_class_ids_have_names_by_number(tmp_path, names, found):
    path = tmp_path / "campaign.yaml"
    news = NEWS.replace("body}", f"body, label: y, label_names: {names}}}")
    path.write_text(f"{HEAD}{LABELS}{TAIL}{news}")
    assert load_campaign(path).domains()[DomainKey("t", "news")].names_by_id == found


def test_labels_that_look_the_same_are_a_mistake(tmp_path):
    text = f'{HEAD}    labels: ["caf\\u00e9", "cafe\\u0301"]\n{TAIL}{NEWS}'
    (said,) = problems(tmp_path, text)
    assert r"labels 'café' and 'cafe\u0301' look the same; leave one of them out" in said


def test_a_windows_path_in_double_quotes_is_told_how_to_write_it(tmp_path):
    advice = "in double quotes a backslash begins an escape: put a path in single quotes, or use /"
    invalid = NEWS.replace("a.csv", r'"C:\data\a.csv"')
    (tmp_path / "campaign.yaml").write_text(f"{HEAD}{LABELS}{TAIL}{invalid}")
    with pytest.raises(ConfigError, match=rf":9: is not YAML: found unknown escape .*; {advice}"):
        load_campaign(tmp_path / "campaign.yaml")
    valid = NEWS.replace("a.csv", r'"C:\news\texts.csv"')
    (found,) = problems(tmp_path, f"{HEAD}{LABELS}{TAIL}{valid}")
    path = r"'C:\news\texts.csv'"
    assert found.startswith(f"9: tasks.t.domains.news.source: {path} has the control character")
    assert found.endswith(advice)
    single = NEWS.replace("a.csv", r"'C:\news\texts.csv'")
    (tmp_path / "campaign.yaml").write_text(f"{HEAD}{LABELS}{TAIL}{single}")
    (domain,) = load_campaign(tmp_path / "campaign.yaml").domains().values()
    assert domain.source.endswith(r"C:\news\texts.csv")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"a: {'[' * 5000}{']' * 5000}\n", 1),
        ("".join(f"{' ' * i}a:\n" for i in range(3000)), 51),
    ],
)
def test_a_file_that_is_nested_too_deeply_is_refused_with_the_line(tmp_path, text, line):
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    said = rf"campaign\.yaml:{line}: keys and lists are nested more"
    with pytest.raises(ConfigError, match=said):
        read_yaml(path)
