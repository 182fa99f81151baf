"""Labeling forms and annotation results."""

import pytest

from umc_ray.errors import DataError
from umc_ray.labelstudio.form import Form, form_xml, project_id, seconds_since_1970
from umc_ray.tasks.forms import NONE, ChoiceForm, NumberForm
from umc_ray.tasks.span_form import SpanForm

RECORDED = """<View>
  <!-- a person wrote this one -->
  <Text name="t" value="$body"/>
  <Header value="Mood"/>
  <Choices name="sentiment" toName="t" choice="single">
    <Choice value="Good one" alias="good"/><Choice value="bad"/>
  </Choices>
</View>"""


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("column", ["text", "image"])
def test_a_written_form_can_be_read(column, multiple):
    control = ChoiceForm(('a "quoted" <one>', "b & c", "ü"), multiple)
    form = Form.read(form_xml(column, control, rates=column == "text"))
    assert form == Form("label", column, column, column, control)
    assert form.fits(ChoiceForm(control.labels[::-1], multiple))
    assert not form.fits(ChoiceForm(control.labels, not multiple))
    assert not form.fits(ChoiceForm(control.labels[1:], multiple))


def test_a_form_written_by_hand_can_be_read():
    form = Form.read(RECORDED)
    assert form == Form("sentiment", "t", "text", "body", ChoiceForm(("good", "bad")))
    (result,) = form.result("good")
    assert (result["from_name"], result["to_name"]) == ("sentiment", "t")
    assert form.answer([result]) == "good"


def test_several_choices_are_one_answer_and_a_submitted_form_without_any_is_an_empty_set():
    form = Form.read(RECORDED.replace("single", "multiple"))
    for answer in ("good", "good | bad", NONE):
        assert form.answer(form.result(answer)) == answer
    assert form.answer([{"from_name": "sentiment", "value": {"choices": ["bad", "good"]}}]) == (
        "good | bad"
    )
    assert form.answer([]) == NONE
    with pytest.raises(DataError, match="choices"):
        form.answer([{"from_name": "sentiment", "value": {"choices": ["good", "ugly"]}}])


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
    assert form.answer([]) is None
    assert form.answer([{"from_name": "other", "value": {"choices": ["x"]}}]) is None
    for choices in (["ugly"], ["good", "bad"]):
        with pytest.raises(DataError, match="choices"):
            form.answer([{"from_name": "sentiment", "value": {"choices": choices}}])
    with pytest.raises(DataError, match="no choice 'ugly'"):
        form.result("ugly")


def test_timestamps_and_project_ids_are_parsed():
    assert seconds_since_1970("1970-01-02T00:00:01.5Z") == 86401.5
    assert [project_id(each) for each in ("2.1795319432", 2, {"id": 2})] == ["2"] * 3
    for bad in ("../etc", None, {}, [], ""):
        with pytest.raises(DataError):
            project_id(bad)


def test_a_span_is_marked_in_the_second_text_of_a_pair():
    xml = form_xml("text", SpanForm(), ("question", "context"))
    form = Form.read(xml)
    assert (form.from_name, form.to_name) == ("label", "text_2")
    assert (form.column, form.key, form.second) == ("text", "text", "text_2")
    assert form.fits(SpanForm())
    answer = '{"start": 3, "text": "Rome"}'
    assert form.answer(form.result(answer)) == answer
    assert form.answer([]) is None


def test_labels_of_pieces_may_stand_beside_the_choices_of_a_form():
    xml = (
        '<View><Text name="text" value="$text"/>'
        '<Labels name="parts" toName="text"><Label value="noun"/></Labels>'
        '<Choices name="label" toName="text"><Choice value="a"/><Choice value="b"/></Choices>'
        "</View>"
    )
    assert Form.read(xml).fits(ChoiceForm(("a", "b")))


def test_a_form_for_pairs_and_numbers_can_be_read():
    xml = form_xml("text", NumberForm(0, 5), ("question <1>", "answer"))
    form = Form.read(xml)
    assert form == Form("label", "text", "text", "text", NumberForm(0, 5), "text_2")
    assert xml.index("question &lt;1&gt;") < xml.index("$text") < xml.index("answer")
    assert form.fits(NumberForm(0, 5))
    assert not form.fits(ChoiceForm(("a", "b")))
    (result,) = form.result("3.5")
    assert (result["type"], result["value"]) == ("number", {"number": 3.5})
    assert form.answer([result]) == "3.5"
    with pytest.raises(DataError, match="'7' is not a number from 0 to 5"):
        form.answer([{"from_name": "label", "value": {"number": 7}}])
