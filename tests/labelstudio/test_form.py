"""Labeling forms, answers in Label Studio's words, and how uncertainty becomes an order."""

import pytest

from umc_ray.errors import DataError
from umc_ray.labelstudio.form import Form, form_xml, project_id, seconds_since_1970, urgency

RECORDED = """<View>
  <!-- a person wrote this one -->
  <Text name="t" value="$body"/>
  <Header value="Mood"/>
  <Choices name="sentiment" toName="t" choice="single">
    <Choice value="Good one" alias="good"/><Choice value="bad"/>
  </Choices>
</View>"""


def test_a_form_that_we_write_is_one_that_we_read():
    labels = ('a "quoted" <one>', "b & c", "ü")
    for column in ("text", "image"):
        assert Form.read(form_xml(column, labels)) == Form("label", column, column, column, labels)


def test_a_form_that_a_person_wrote_is_read():
    form = Form.read(RECORDED)
    assert form == Form("sentiment", "t", "text", "body", ("good", "bad"))
    (result,) = form.result("good")
    assert (result["from_name"], result["to_name"]) == ("sentiment", "t")
    assert form.label([result]) == "good"


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<View>",
        "<View/>",
        "not XML",
        '<View><Text name="t" value="$x"/></View>',
        '<View><Choices name="c" toName="t"><Choice value="a"/></Choices></View>',
        '<View><Text name="t" value="fixed"/><Choices name="c" toName="t"/></View>',
        '<!DOCTYPE v [<!ENTITY a "b">]><View>&a;</View>',
        "<View>" + "x" * 100_001 + "</View>",
        "<View>" * 20_000,
    ],
)
def test_another_form_is_an_error(xml):
    with pytest.raises(DataError, match="form"):
        Form.read(xml)


def test_an_answer_of_another_form_is_an_error_and_an_empty_one_is_none():
    form = Form.read(RECORDED)
    assert form.label([]) is None
    assert form.label([{"from_name": "other", "value": {"choices": ["x"]}}]) is None
    for choices in (["ugly"], ["good", "bad"]):
        with pytest.raises(DataError, match="choices"):
            form.label([{"from_name": "sentiment", "value": {"choices": choices}}])
    with pytest.raises(DataError, match="no choice 'ugly'"):
        form.result("ugly")


@pytest.mark.parametrize(
    ("acquisition", "sure", "unsure"),
    [
        ("margin", 0.0, 1.0),
        ("least_confidence", 0.0, 1.0),
        ("entropy", 0.0, 2.0),
        ("mutual_information", 0.0, 2.0),
        ("score", -3.0, 3.0),
    ],
)
def test_each_acquisition_is_scaled_from_sure_to_unsure(acquisition, sure, unsure):
    found = [urgency(each, acquisition, 4, 3) for each in (sure, (sure + unsure) / 2, unsure)]
    assert found == pytest.approx([0, 0.5, 1])


def test_times_and_projects_are_read_as_they_come():
    assert seconds_since_1970("1970-01-02T00:00:01.5Z") == 86401.5
    assert [project_id(each) for each in ("2.1795319432", 2, {"id": 2})] == ["2"] * 3
    for bad in ("../etc", None, {}, [], ""):
        with pytest.raises(DataError):
            project_id(bad)
