"""Labeling forms, annotation results, and the scaling of urgency."""

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


def test_a_written_form_can_be_read():
    labels = ('a "quoted" <one>', "b & c", "ü")
    for column in ("text", "image"):
        assert Form.read(form_xml(column, labels)) == Form("label", column, column, column, labels)


def test_a_form_written_by_hand_can_be_read():
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
def test_an_unsupported_form_is_an_error(xml):
    with pytest.raises(DataError, match="form"):
        Form.read(xml)


def test_an_answer_to_another_form_is_an_error_and_an_empty_one_is_none():
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
def test_urgency_scales_each_acquisition_to_0_1(acquisition, sure, unsure):
    scaled = [urgency(each, acquisition, 4, 3) for each in (sure, (sure + unsure) / 2, unsure)]
    assert scaled == pytest.approx([0, 0.5, 1])


def test_timestamps_and_project_ids_are_parsed():
    assert seconds_since_1970("1970-01-02T00:00:01.5Z") == 86401.5
    assert [project_id(each) for each in ("2.1795319432", 2, {"id": 2})] == ["2"] * 3
    for bad in ("../etc", None, {}, [], ""):
        with pytest.raises(DataError):
            project_id(bad)
