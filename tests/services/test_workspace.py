"""Which folders an agent may be started in."""

import os

import pytest

from taskd.model.errors import Code, TaskdError
from taskd.services.workspace import resolve_cwd


@pytest.fixture
def place(tmp_path):
    """A workspace and a task, with links that lead astray."""
    for folder in ("ws/project/deep", "ws/back\\slash", "ws/..odd", "ws2", "state/t1/work/sub", "state/t2/work"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ws/file").write_bytes(b"")
    (tmp_path / "ws/out").symlink_to(tmp_path / "ws2")
    (tmp_path / "ws/in").symlink_to("project")
    (tmp_path / "state/t1/work/out").symlink_to(tmp_path / "ws2")
    (tmp_path / "link-to-ws").symlink_to("ws")
    return tmp_path


def _resolve(place, *, absolute=None, relative=None, root="ws", task="t1"):
    root = root and str(place / root)
    absolute = None if absolute is None else absolute.replace("@", str(place))
    return resolve_cwd(absolute, relative, root, str(place / f"state/{task}/work"), str(place / f"state/{task}"))


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        ("project", "ws/project"),
        ("project/deep", "ws/project/deep"),
        ("", "ws"),
        (".", "ws"),
        ("back\\slash", "ws/back\\slash"),
        ("..odd", "ws/..odd"),
    ],
)
def test_a_relative_folder_lies_below_the_workspace_root(place, relative, expected):
    assert _resolve(place, relative=relative) == str(place / expected)


def test_the_relative_folder_wins_whatever_the_absolute_one_is(place):
    assert _resolve(place, relative="project", absolute="/Users/me/project") == str(place / "ws/project")


@pytest.mark.parametrize(
    ("relative", "reason"),
    [
        ("..", "parent_component"),
        ("project/../..", "parent_component"),
        ("../ws2", "parent_component"),
        ("/etc", "absolute"),
        ("project//deep", "empty_component"),
        ("project/", "empty_component"),
        ("./project", "dot_component"),
        ("pro\0ject", "nul"),
        ("\ud800", "not_encodable"),
        ("x/" * 2048 + "x", "too_long"),
        ("x/" * 2045 + "x", "too_long"),
        ("out", "link"),
        ("out/x", "link"),
        ("in", "link"),
        ("in/deep", "link"),
        ("file", "not_a_folder"),
        ("missing", "missing"),
    ],
)
def test_a_relative_folder_that_cannot_be_had_is_refused_for_its_reason(place, relative, reason):
    with pytest.raises(TaskdError) as caught:
        _resolve(place, relative=relative)

    assert caught.value.code is Code.WORKSPACE_POLICY_VIOLATION
    assert caught.value.details == {"field": "workingFolderRelative", "reason": reason}


@pytest.mark.parametrize("root", [None, ""])
def test_without_a_workspace_root_a_relative_folder_is_refused_with_a_hint(place, root):
    with pytest.raises(TaskdError, match="set workspace_root") as caught:
        _resolve(place, relative="project", root=root)

    assert caught.value.details["reason"] == "no_workspace_root"


def test_a_missing_workspace_root_is_told_each_time_and_found_when_it_comes(place):
    for _ in range(2):
        with pytest.raises(TaskdError) as caught:
            _resolve(place, relative="project", root="later")
        assert caught.value.details["reason"] == "workspace_root_missing"
    (place / "later/project").mkdir(parents=True)

    assert _resolve(place, relative="project", root="later") == str(place / "later/project")


@pytest.mark.parametrize(
    ("absolute", "expected"),
    [
        ("@/ws", "ws"),
        ("@/ws/project/deep", "ws/project/deep"),
        ("@/state/t1/work", "state/t1/work"),
        ("@/state/t1/work/sub", "state/t1/work/sub"),
        ("@/state/t1", "state/t1"),
    ],
)
def test_an_absolute_folder_lies_below_the_workspace_root_or_in_the_task_s_own(place, absolute, expected):
    assert _resolve(place, absolute=absolute) == str(place / expected)


@pytest.mark.parametrize(
    ("absolute", "reason"),
    [
        ("/", "outside"),
        ("@/ws2", "outside"),
        ("@/ws-no", "outside"),
        ("@/state/t2/work", "outside"),
        ("@/state", "outside"),
        ("relative", "not_absolute"),
        ("", "not_absolute"),
        ("@/ws/../ws2", "parent_component"),
        ("@/ws//project", "empty_component"),
        ("@/ws/project/", "empty_component"),
        ("@/ws/./project", "dot_component"),
        ("@/ws/out", "link"),
        ("@/state/t1/work/out", "link"),
        ("@/ws/file", "not_a_folder"),
        ("@/ws/missing", "missing"),
        ("@/ws/a\0b", "nul"),
        ("/" + "x/" * 2048, "too_long"),
    ],
)
def test_any_other_absolute_folder_is_refused_for_its_reason(place, absolute, reason):
    with pytest.raises(TaskdError) as caught:
        _resolve(place, absolute=absolute)

    assert caught.value.code is Code.WORKSPACE_POLICY_VIOLATION
    assert caught.value.details == {"field": "workingFolder", "reason": reason}


def test_without_a_workspace_root_only_the_task_s_own_folder_is_left(place):
    assert _resolve(place, absolute="@/state/t1/work/sub", root=None) == str(place / "state/t1/work/sub")
    with pytest.raises(TaskdError):
        _resolve(place, absolute="@/ws/project", root=None)


def test_a_configured_root_may_be_a_link_and_hosts_may_know_it_by_either_name(place):
    assert _resolve(place, relative="project", root="link-to-ws") == str(place / "link-to-ws/project")
    for absolute in ("@/ws/project", "@/link-to-ws/project"):
        assert os.path.samefile(_resolve(place, absolute=absolute, root="link-to-ws"), place / "ws/project")


def test_the_task_s_own_folder_is_the_default_and_need_not_exist_yet(place):
    assert _resolve(place, task="new") == str(place / "state/new/work")
    assert _resolve(place, absolute="@/state/new/work", task="new") == str(place / "state/new/work")


def test_the_root_of_everything_may_be_the_workspace(place):
    assert _resolve(place, absolute="@/ws/project", root="/") == str(place / "ws/project")
