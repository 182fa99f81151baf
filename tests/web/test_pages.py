import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.web.conftest import World
from tests.web.worlds import CLASSES, PICTURES, TEXT, XSS, answer, ids
from umc_ray.annotation.review import decide
from umc_ray.annotation.store import Payload, Question
from umc_ray.errors import ConfigError, DataError
from umc_ray.web.guidelines import read_guidelines
from umc_ray.web.samples import web_image
from umc_ray.web.site import Site
from umc_ray.web.view_models import Alike, predicted_alike

PAGES = [
    *("/", "/items?n=50", "/groups", "/groups/next", "/review", "/review/items"),
    *("/history", "/questions", "/admin", "/account"),
]
TAGS = re.findall(
    r"\w+",
    "html head meta title link script body header strong nav a form input span button main div "
    "progress kbd section h1 h2 ol ul li p dialog textarea dl dt dd article svg rect figure img "
    "table caption thead tbody tr th td b q label select option code",
)


class Tags(HTMLParser):
    """Collects the tags of a page, and the attributes that could run something."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.active, self.scripts = set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        names = dict(attrs)
        self.active += [name for name in names if name.startswith("on") or name == "style"]
        links = [names.get(name) or "" for name in ("href", "src", "action")]
        self.active += [link for link in links if re.match(r"\s*(javascript|data|//|http)", link)]
        if tag == "script":
            self.scripts.append(names.get("src"))


@pytest.fixture
def hostile(world):
    """A world in which all user content is an injection attempt."""
    first, second = ids(TEXT, 2)[:2]
    votes = [answer(first, f"{XSS}1", "good", reason=XSS), answer(second, XSS, None, reason=XSS)]
    world.store.record(votes, ["a", "b"])
    world.store.raise_votes([q for q in world.store.questions("tiny") if q.sample_id == first], 2)
    world.store.record([answer(first, "ann", "bad", reason=XSS)], ["c"])
    return world


@pytest.mark.parametrize("path", PAGES)
def test_user_content_never_becomes_markup(hostile, path):
    html = hostile.client("admin").get(path).text
    page = Tags(html)
    assert page.tags <= set(TAGS)
    assert page.active == []
    assert set(page.scripts) <= {"/static/page.js"}


def test_user_content_is_shown_escaped(hostile):
    client = hostile.client("admin")
    for path in ("/items?n=50", "/review/items", "/admin"):
        assert "&lt;script&gt;window.hit=1" in client.get(path).text


def articles(html):
    return [f"<article{piece}" for piece in html.split("<article")[1:]]


def test_a_hidden_prediction_never_reaches_the_page(world):
    shown = articles(world.client("admin").get("/items?n=50").text)
    assert len(shown) == 50
    hidden = [each for each in shown if str(ids(TEXT, 2)[-1]) in each]
    assert len(hidden) == 1
    assert not re.search("%|Similar labeled|specialist|measure accuracy|suggested", hidden[0])
    assert len([each for each in shown if "Predictions by specialist" in each]) == 49


@pytest.mark.parametrize("suggestion", ["show", "after_first_choice", "hidden"])
def test_suggestions_are_shown_as_configured(tmp_path, suggestion):
    world = World(tmp_path, suggestion=suggestion)
    first = articles(world.client("admin").get("/items?n=1").text)[0]
    assert f'data-mode="{suggestion}"' in first
    assert ("75%" in first) == (suggestion != "hidden")
    world.store.close()


def test_neighbors_are_the_nearest_of_the_two_most_probable_classes(world):
    question = world.store.question(("tiny", "mood", ids(TEXT, 2)[0]))
    near = world.site.similar.neighbors(question)
    assert [each.label for each in near] == ["bad", "bad", "good", "good"]
    assert {each.question.sample_id for each in near} <= set(ids(TEXT, 1))
    first_round = world.store.question(("tiny", "mood", ids(TEXT, 1)[0]))
    assert world.site.similar.neighbors(first_round) == []  # nothing was labeled before


def test_groups_contain_each_sample_once_and_no_audit_samples(world):
    groups = world.site.similar.groups(2)
    keys = [key for group in groups for key in group.keys]
    expected = [
        ("tiny", domain_key.task, i)
        for domain_key in (TEXT, PICTURES)
        for i in ids(domain_key, 2)[:-1]
    ]
    assert sorted(keys) == sorted(expected)


def test_the_tightest_group_comes_first_without_answered_samples(world):
    client = world.client("annotator")
    first = world.site.similar.groups(2)[0]
    answered = [
        answer(first.keys[0][2], "x", "good", domain_key=TEXT if first.task == "mood" else PICTURES)
    ]
    world.store.record(answered, ["a"])
    html = client.get("/groups/next").text
    assert f'data-bulk="{first.name}"' in html
    shown = re.findall(r'<input type="checkbox"[^>]*data-sample="(\d+)"', html)
    assert [int(i) for i in shown] == [key[2] for key in first.keys[1:]]
    names = " ".join(group.name for group in world.site.similar.groups(2))
    assert client.get("/groups/next", params={"after": names}).text.strip() == ""


def test_reviewers_see_answers_without_names(hostile):
    html = hostile.client("reviewer").get("/review/items").text
    assert len(articles(html)) == 1
    assert "Person 1" in html
    assert ">ann<" not in html


def test_images_are_served_with_their_type_and_cannot_run(world):
    answered = world.client("annotator").get(f"/images/digits/{ids(PICTURES, 2)[0]}")
    assert answered.headers["content-type"] == "image/png"
    assert answered.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answered.headers["x-content-type-options"] == "nosniff"
    assert answered.content.startswith(b"\x89PNG")


def picture(kind, size=(4, 4), mode="RGB"):
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "L"), ("WEBP", "RGB")])
def test_images_that_browsers_paint_as_encoders_see_them_are_sent_as_they_are(kind, mode):
    content = picture(kind, mode=mode)
    assert web_image(content, 100) == (content, f"image/{kind.lower()}")


@pytest.mark.parametrize(
    ("kind", "mode"), [("GIF", "P"), ("TIFF", "RGB"), ("JPEG", "CMYK"), ("PNG", "I;16")]
)
def test_images_that_browsers_paint_otherwise_are_sent_as_png(kind, mode):
    content, media_type = web_image(picture(kind, mode=mode), 100)
    assert media_type == "image/png"
    assert Image.open(io.BytesIO(content)).mode == "RGB"


@pytest.mark.parametrize(
    "content", [b"", b"<svg onload=alert(1)>", b"\x89PNG broken", picture("PNG", (11, 10))]
)
def test_invalid_and_huge_images_are_rejected(content):
    with pytest.raises(DataError, match="image"):
        web_image(content, 100)


def test_guidelines_are_rendered_without_active_content(tmp_path):
    path = tmp_path / "guide.md"
    path.write_text(
        "# Mood\n\n- **good** <b onclick=x>\n\n[a](javascript:x) ![b](http://x/y.png)\n"
    )
    guidelines = read_guidelines(str(path))
    tags = Tags(guidelines.html)
    assert {"h1", "li", "strong"} <= tags.tags
    assert not {"b", "img"} & tags.tags
    assert tags.active == ["http://x/y.png"]  # an external image becomes a link
    path.write_text("# Changed")
    assert read_guidelines(str(path)).version not in (None, guidelines.version)
    with pytest.raises(ConfigError, match=r"annotation\.guidelines .*none\.md"):
        read_guidelines(str(tmp_path / "none.md"))


def test_the_page_needs_the_web_backend(world):
    config = world.run.config
    other = config.annotation.model_copy(update={"backend": "sheet"})
    run = type(world.run)(config.model_copy(update={"annotation": other}))
    with pytest.raises(ConfigError, match="is sheet: set it to web"):
        Site(run)


def admin_post(world, **fields):
    return world.client("admin").post("/admin/accounts", data=fields)


def test_admins_add_change_and_deactivate_accounts(world):
    page = admin_post(world, do="add", name="new", role="reviewer")
    link = re.search(r"<code>http://testserver(/invitation/.+?)</code>", page.text)[1]
    guest = world.client()
    assert guest.get(link).status_code == 200
    assert guest.post(link, data={"password": "short", "again": "short"}).status_code == 409
    password = {"password": "a long password", "again": "a long password"}
    assert guest.post(link, data=password, follow_redirects=False).status_code == 303
    assert guest.post(link, data=password).status_code == 409  # it works once
    assert world.site.accounts.log_in("new", "a long password") is not None
    token = re.search(r"<code>(.+?)</code>", admin_post(world, do="token", name="new").text)[1]
    assert world.site.accounts.find_person(token, "token").role == "reviewer"
    (made,) = world.site.accounts.tokens("new")
    spare = world.site.accounts.create_key("new", "token")
    admin_post(world, do="revoke", name="new", token=made.id)
    assert world.site.accounts.find_person(token, "token") is None
    token = spare
    admin_post(world, do="change", name="new", role="annotator")
    assert world.site.accounts.find_person(token, "token").role == "annotator"
    admin_post(world, do="end", name="new", role="annotator")
    assert world.site.accounts.find_person(token, "token") is None
    assert admin_post(world, do="token", name="new").status_code == 409
    assert admin_post(world, do="password", name="new").status_code == 409
    assert admin_post(world, do="end", name="admin", role="admin").status_code == 409
    assert admin_post(world, do="add", name="<i>", role="admin").status_code == 409
    assert admin_post(world, do="rule", name="new").status_code == 409


def test_the_admin_page_shows_annotator_statistics(world):
    first = ids(TEXT, 2)
    world.store.record(
        [
            answer(first[0], "ann", "bad", seen=True, seconds=2.0),
            answer(first[1], "ann", "bad", seen=True, seconds=4.0),
            answer(first[0], "bob", "good", seen=False, seconds=9.0),
        ],
        ["a", "b", "c"],
    )
    rows = re.findall(r"<tr>(.*?)</tr>", world.client("admin").get("/admin").text, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    ann = ["ann", "2", "2", "3.0", "1200", "0% of 2", "0% of 1", "–", "50% of 2", "–", "0"]
    bob = ["bob", "1", "1", "9.0", "400", "0% of 1", "0% of 1", "–", "–", "0% of 1", "0"]
    assert ann in cells
    assert bob in cells
    assert ["shown", "50% of 2", "–"] in cells
    assert ["not shown", "0% of 1", "–"] in cells


def test_anonymous_browsers_are_redirected_to_the_login_with_a_way_back(still_world):
    browser = {"accept": "text/html"}
    answered = still_world.client().get("/review?batch=a", headers=browser, follow_redirects=False)
    assert answered.headers["location"] == "/login?next=/review%3Fbatch%3Da"


def test_all_links_stay_below_the_mount_path(still_world):
    outer = Starlette(routes=[Mount("/annotate", still_world.app)])
    token = still_world.tokens["admin"]
    client = TestClient(outer, headers={"authorization": f"Bearer {token}"})
    for path in ("/", "/items", "/admin", "/groups/next"):
        html = client.get(f"/annotate{path}").text
        links = re.findall(r'(?:href|src|action)="(/[^"]*)"', html)
        assert links
        assert not [link for link in links if not link.startswith("/annotate/")]
    assert client.get("/annotate/static/page.js").status_code == 200
    assert CLASSES["mood"][0] in client.get("/annotate/items").text


def shown_in_history(world, role="annotator", **query):
    html = world.client(role).get("/history", params=query).text
    rows = re.findall(r"<tr>\s*<td.*?</tr>", html, re.DOTALL)
    return [(re.search(r"<b [^>]*>(.*?)</b>", row)[1], "item=" in row) for row in rows]


def test_people_find_their_own_answers_and_change_those_of_open_rounds(world):
    texts, scans = ids(TEXT, 2), ids(PICTURES, 2)
    given = [
        answer(texts[0], "annotator", "good"),
        answer(scans[0], "annotator", None, reason="too dark", domain_key=PICTURES),
        answer(texts[2], "annotator", "bad"),
        answer(texts[3], "somebody", "bad"),
    ]
    world.store.record(given, ["a", "b", "c", "d"])
    assert shown_in_history(world) == [("bad", True), ("skipped", True), ("good", True)]
    assert shown_in_history(world, find="GOOD ") == [("good", True)]
    assert shown_in_history(world, find="digits") == shown_in_history(world, find="too dark")
    assert shown_in_history(world, find="no such thing") == []
    assert shown_in_history(world, role="reviewer") == []
    world.store.close_round("tiny", 2)
    assert shown_in_history(world) == [("bad", False), ("skipped", False), ("good", False)]


def test_a_long_history_has_pages(world):
    scans = ids(PICTURES, 2)[:60]
    given = [answer(each, "annotator", "zero", domain_key=PICTURES) for each in scans]
    world.store.record(given, [str(each) for each in scans])
    assert [len(shown_in_history(world, page=number)) for number in (1, 2, 3)] == [50, 10, 0]
    assert [len(shown_in_history(world, page=n, find="zero")) for n in (1, 2)] == [50, 10]
    first = world.client("annotator").get("/history").text
    assert ('rel="next"' in first, 'rel="prev"' in first) == (True, False)


def test_progress_counts_what_a_person_did_and_what_is_left_for_them(world, monkeypatch):
    def progress(role, since=0.0):
        found = world.client(role).get("/api/progress", params={"since": since}).json()
        return found["by_you"], found["left_for_you"]

    asked = len(world.store.open_questions("tiny"))
    texts = ids(TEXT, 2)
    world.store.raise_votes([world.store.question(("tiny", "mood", texts[0]))], 2)
    first = [answer(texts[0], "annotator", "good"), answer(texts[1], "annotator", "bad")]
    world.store.record(
        [replace(first[0], submitted_at=5.0), replace(first[1], submitted_at=9.0)], "ab"
    )
    assert progress("annotator") == (2, asked - 2)
    assert progress("annotator", since=7.0) == (1, asked - 2)
    assert progress("reviewer") == (0, asked - 1)  # the first one still needs an answer


def test_in_a_group_only_what_is_predicted_alike_is_selected(tmp_path):
    html = {}
    for suggestion in ("show", "hidden"):
        (tmp_path / suggestion).mkdir()
        world = World(tmp_path / suggestion, suggestion=suggestion)
        group = world.site.similar.groups(2)[0]
        questions = [world.store.question(key) for key in group.keys]
        alike = predicted_alike(questions, group.outliers, suggestion == "show")
        html[suggestion] = world.client("annotator").get("/groups/next").text
        checked = re.findall(r'data-sample="(\d+)"[^>]* checked', html[suggestion])
        assert {int(each) for each in checked} == {key[2] for key in alike.keys}
        world.store.close()
    shown = re.findall(r'data-predicted="(\w+)"( checked)?', html["show"])
    assert len({label for label, checked in shown if checked}) == 1
    assert 'samples are predicted as <b dir="auto">' in html["show"]
    assert "predicted" not in html["hidden"].replace("Deselect", "")


def test_the_commonest_prediction_of_a_group_is_selected_without_outliers():
    predictions = ["good", "bad", "good", "good"]
    questions = [
        Question("tiny", 2, "mood", "posts", i, payload=Payload(predicted=each))
        for i, each in enumerate(predictions)
    ]
    keys = [each.key for each in questions]
    alike = predicted_alike(questions, {keys[3]}, is_shown=True)
    assert alike == Alike(frozenset({keys[0], keys[2]}), "good", 3)
    assert predicted_alike(questions, {keys[3]}, is_shown=False) == Alike(frozenset(keys[:3]))


def test_reviewers_look_through_all_questions_by_what_was_said(world):
    texts, scans = ids(TEXT, 2), ids(PICTURES, 2)
    world.store.raise_votes([world.store.question(("tiny", "mood", texts[0]))], 2)
    votes = [answer(texts[0], "ann", "good"), answer(texts[0], "bob", "bad")]
    votes.append(answer(scans[0], "ann", None, reason="dark", domain_key=PICTURES))
    world.store.record(votes, "abc")
    world.store.record_as("flag", [answer(texts[1], "bob", None, reason="odd")], ["f"])
    decide(world.store, answer(texts[0], "eve", "good"), "d")

    def found(**query):
        html = world.client("reviewer").get("/questions", params=query).text
        return int(re.search(r"<p>(\d+) question", html)[1]), re.findall(r"item=\w+/(\d+)", html)

    everything = len(world.store.questions("tiny"))
    assert found()[0] == everything
    assert len(found()[1]) == 50
    assert len(found(page=3)[1]) == everything - 100
    for query in ({"state": "disputed"}, {"who": "eve"}, {"label": "bad"}, {"state": "decided"}):
        assert found(**query) == (1, [str(texts[0])])
    assert found(state="flagged") == found(who="bob", state="open") == (1, [str(texts[1])])
    assert found(domain="digits/scans", who="ann") == (1, [str(scans[0])])
    assert found(round=1)[0] == len(world.store.questions("tiny", 1))
    opened = world.client("reviewer").get(f"/review/items/mood/{texts[0]}").text
    assert re.findall(r"Person \d</span> <b[^>]*>(\w+)", opened) == ["good", "bad"]


def test_leads_assign_questions_and_domains(world):
    lead, first = world.client("reviewer"), ids(TEXT, 2)[:2]
    form = {"sample": [f"mood/{each}" for each in first], "back": "state=assigned"}

    def assigned(**fields):
        return lead.post("/questions/assign", data={**form, **fields}).text

    shown = assigned(who="annotator")
    assert re.findall(r"item=mood/(\d+)", shown) == [str(each) for each in first]
    assert shown.count("for <b>annotator</b>") == 2
    held = world.client("annotator").get("/api/questions?n=2").json()
    assert [each["sample"]["sample_id"] for each in held] == [str(each) for each in first]
    assert "no active account &#39;eve&#39;" in assigned(who="eve")
    assert "no question is selected" in assigned(sample=[])
    assert "0 questions" in assigned(who="")
    assert world.client("annotator").post("/questions/assign", data=form).status_code == 403

    page = admin_post(world, do="domains", name="annotator", domains="digits/scans")
    assert 'value="digits/scans"' in page.text
    world.client("annotator").post("/api/release")
    held = world.client("annotator").get("/api/questions?n=50").json()
    assert {each["sample"]["domain"] for each in held} == {"scans"}
    assert (
        "there is no domain &#39;x&#39;"
        in admin_post(world, do="domains", name="a", domains="x").text
    )
    for name in ("reviewer", "admin"):
        page = admin_post(world, do="domains", name=name, domains="digits/scans")
    assert "Nobody with an account is asked about mood/posts" in page.text


def test_guidelines_change_without_a_restart_and_a_lost_file_changes_nothing(tmp_path):
    guide = tmp_path / "guide.md"
    guide.write_text("# Mood\n\n| label | meaning |\n|--|--|\n| good | content |\n")
    world = World(tmp_path, guidelines=str(guide))
    client = world.client("annotator")
    first = client.get("/").text
    assert "<td>content</td>" in first
    guide.write_text("Another text.")
    second = client.get("/").text
    assert "Another text." in second
    guide.unlink()
    assert client.get("/").text == second
    world.store.close()
