import os

import pytest

from umc_ray.ingest.folders import BROKEN, OUTSIDE, VISITED, Walk


@pytest.fixture
def tree(tmp_path):
    """A folder of two files, beside another one."""
    for name in ("data/a.png", "data/sub/b.png", "other/c.png", "other/deep/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "data"


def walked(folder):
    walk = Walk(str(folder))
    found = sorted(os.path.relpath(entry.path, folder) for entry in walk.files())
    return found, dict(walk.notes)


def test_a_link_to_the_folder_itself_or_to_a_parent_within_is_not_followed(tree):
    (tree / "loop").symlink_to(".", target_is_directory=True)
    (tree / "sub/up").symlink_to("..", target_is_directory=True)
    assert walked(tree) == (["a.png", "sub/b.png"], {VISITED: 2})


def test_a_link_out_of_the_folder_is_followed_once(tree):
    (tree / "more").symlink_to("../other", target_is_directory=True)
    (tree / "once more").symlink_to("../other", target_is_directory=True)
    (tree / "c").symlink_to("../other/c.png")
    found, notes = walked(tree)
    assert found == ["a.png", "c", "more/c.png", "more/deep/d.png", "sub/b.png"]
    assert notes == {OUTSIDE: 2, VISITED: 1}


def test_a_link_to_what_lies_around_the_folder_does_not_read_it_twice(tree):
    (tree / "all").symlink_to("..", target_is_directory=True)
    found, _ = walked(tree)
    assert found == ["a.png", "all/other/c.png", "all/other/deep/d.png", "sub/b.png"]


def test_a_folder_keeps_its_own_name_whatever_link_leads_to_it(tree):
    (tree / "a link").symlink_to("sub", target_is_directory=True)
    assert walked(tree) == (["a.png", "sub/b.png"], {VISITED: 1})


def test_broken_links_are_ignored_and_counted(tree):
    (tree / "gone.png").symlink_to("nowhere.png")
    (tree / "round").symlink_to("round")
    assert walked(tree) == (["a.png", "sub/b.png"], {BROKEN: 2})


def test_a_link_as_the_folder_is_walked_like_what_it_leads_to(tree):
    link = tree.parent / "link"
    link.symlink_to(tree, target_is_directory=True)
    assert walked(link) == (["a.png", "sub/b.png"], {})


def test_nothing_hidden_is_walked(tree):
    (tree / ".cache").mkdir()
    (tree / ".cache/x.png").touch()
    (tree / ".y.png").touch()
    assert walked(tree) == (["a.png", "sub/b.png"], {})
