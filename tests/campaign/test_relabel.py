"""Files of labels: what is taken over, and what is wrong with the rest."""

from contextlib import closing
from dataclasses import replace

import pytest

from tests import tiny
from tests.pools import DOMAIN, write_part
from umc_ray.campaign.relabel import import_labels, relabel
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError, DataError
from umc_ray.ingest.manifest import INDEX, NOTHING, store_manifest
from umc_ray.methods.identity import sample_ids
from umc_ray.records import DomainKey

KEYS = ["k0", "k1", "k2"]
IDS = sample_ids("mood", "posts", "pool", KEYS).tolist()
NOW = 1_700_000_000.0


@pytest.fixture
def run(tmp_path):
    """A campaign whose pool of posts has three samples, which people will be asked about."""
    values = tiny.campaign(tmp_path, annotation={"backend": "sheet"})
    del values["tasks"]["mood"]["domains"]["reviews"]
    run = Run(load_campaign(tiny.write_campaign(tmp_path, values)))
    part = write_part(run.storage, IDS)
    manifest = replace(NOTHING, parts=(part,), generation=0)
    store_manifest(run.storage, DOMAIN, "pool", manifest, INDEX.empty_table())
    with closing(run.store):
        run.store.clock = lambda: NOW
        yield run


@pytest.fixture
def take_over(run, tmp_path):
    """Import a table with these lines."""

    def take_over(*lines, by="ada", **options):
        path = tmp_path / "labels.csv"
        path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))
        return import_labels(run, str(path), by, **options)

    return take_over


def given(run):
    return {each.sample_id: each.label for each in run.store.answers("tiny")}


def test_key_and_id_may_both_name_a_sample_if_it_is_the_same(run, take_over):
    found = take_over(
        "key,sample_id,label",
        f"k0,s{IDS[0]},good",
        f"k1,{IDS[1]},bad",  # as a release has it
        f"k2,s{IDS[0]},bad",
        "k9,,good",
        f"k9,s{IDS[2]},good",
        f",s{IDS[2]},good",
        ",,good",
    )
    rows = [each.partition("labels.csv ")[2] for each in found.bad]
    assert rows == [
        f"row 3: 's{IDS[0]}' and 'k2' are two samples",
        "row 4: mood/posts has no sample 'k9'",
        "row 5: mood/posts has no sample 'k9'",
        "row 7: neither key nor sample_id says which sample it is",
    ]
    assert (found.rows, found.new) == (3, 3)
    assert given(run) == {IDS[0]: "good", IDS[1]: "bad", IDS[2]: "good"}


@pytest.mark.parametrize("time", ["nan", "inf", "-inf", "-1", "99999999999999", "yesterday"])
def test_a_time_that_cannot_be_costs_its_row_alone(run, take_over, time):
    found = take_over("key,label,time", f"k0,good,{time}", f"k1,bad,{NOW + 3600}", "k2,bad,")
    (bad,) = found.bad
    assert bad.endswith(
        f"row 1: time '{time}' must be a number of seconds since 1970, not after now"
    )
    assert given(run) == {IDS[1]: "bad", IDS[2]: "bad"}
    times = {each.sample_id: each.submitted_at for each in run.store.answers("tiny")}
    assert times == {IDS[1]: NOW + 3600, IDS[2]: NOW}


@pytest.mark.parametrize("name", ["x" * 65, '"ada\nberta"', "a\x07"])
def test_an_annotator_is_one_line_as_short_as_the_name_of_an_account(run, take_over, name):
    found = take_over("key,label,annotator", f"k0,good,{name}", f"k1,bad,{'x' * 64}")
    (bad,) = found.bad
    assert "row 1: annotator 'x" in bad or "row 1: annotator 'a" in bad
    assert bad.endswith(" must be one line of 1 to 64 characters")
    assert given(run) == {IDS[1]: "bad"}
    with pytest.raises(DataError, match="must be one line of 1 to 64 characters"):
        take_over("key,label", "k0,good", by="x" * 65)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoding": "nope"}, "unknown encoding: nope; name an encoding such as cp1252"),
        ({"encoding": "base64"}, "'base64' is not a text encoding"),
        ({"delimiter": ";;"}, "delimiter cannot be ';;'; name one such as ';'"),
        ({"delimiter": ""}, "delimiter cannot be ''"),
    ],
)
def test_a_file_is_read_with_an_encoding_and_a_delimiter_that_exist(take_over, options, said):
    with pytest.raises(ConfigError, match=said):
        take_over("key,label", "k0,good", **options)


def test_a_file_that_cannot_be_read_or_has_no_row_is_an_error(run, take_over, tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.csv: .*No such file"):
        import_labels(run, str(tmp_path / "none.csv"), "ada")
    for lines in ([], ["key,label"]):
        with pytest.raises(DataError, match=r"labels\.csv has no rows, so there is no label"):
            take_over(*lines)


def test_a_header_without_the_label_says_which_options_read_it(take_over):
    with pytest.raises(DataError, match="has no column 'label'; it has key, labels; did") as raised:
        take_over("key,labels", "k0,good")
    assert str(raised.value).endswith("?")
    with pytest.raises(DataError, match=r'it has key;label.* read it, add --delimiter ";"$'):
        take_over("key;label", "k0;good")


def test_a_domain_is_named_with_its_task(run):
    said = "name a domain as TASK/DOMAIN, one of mood/posts; found 'posts'"
    with pytest.raises(ConfigError, match=said):
        relabel(run, DomainKey.named("posts"), "k0", "good", "ada")
