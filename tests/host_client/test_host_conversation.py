"""The conversation cache: for user interfaces only, checked against the guest, and never an error."""

import json

import pytest

from host_client import ConnectionLost, connect
from host_client.conversation import ConversationCache

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cached(guest, tmp_path):
    guest.add_task("t1", state="active")
    for number in (1, 2):
        guest.save_turn("t1", f"u{number}", f"p{number}", f"Answer {number}")
    async with connect(guest.dial, cache_dir=tmp_path) as client:
        yield client


def asked_from(guest):
    return [request.params["fromTurn"] for request in guest.requests if request.method == "get_session"]


def texts(conversation):
    return [turn.messages[-1].content[0].text for turn in conversation.turns]


async def test_it_is_kept_in_two_files_that_anybody_can_read(cached, tmp_path):
    conversation = await cached.conversation("t1")

    assert (conversation.task_id, texts(conversation)) == ("t1", ["Answer 1", "Answer 2"])
    assert json.loads((tmp_path / "t1" / "task.json").read_bytes())["task"]["taskId"] == "t1"
    kept = json.loads((tmp_path / "t1" / "conversation.json").read_bytes())
    assert [turn["turnId"] for turn in kept["turns"]] == ["u1", "u2"]
    assert (tmp_path / "t1" / "conversation.json").stat().st_mode & 0o777 == 0o600


async def test_only_what_is_new_is_asked_for(cached, guest):
    await cached.conversation("t1")
    guest.save_turn("t1", "u3", "p3", "Answer 3")

    assert texts(await cached.conversation("t1")) == ["Answer 1", "Answer 2", "Answer 3"]
    assert asked_from(guest) == [1, 2]


async def test_a_session_that_was_put_back_and_went_on_elsewhere_is_asked_for_whole(cached, guest):
    await cached.conversation("t1")
    del guest.session["t1"][1]
    guest.save_turn("t1", "u2b", "p2b", "Another answer")

    assert texts(await cached.conversation("t1")) == ["Answer 1", "Another answer"]
    assert asked_from(guest) == [1, 2, 1]


async def test_a_session_that_is_shorter_now_is_asked_for_whole(cached, guest):
    await cached.conversation("t1")
    del guest.session["t1"][1]

    assert texts(await cached.conversation("t1")) == ["Answer 1"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"version":99,"taskId":"t1","agent":"pi","turns":[]}',
        b'{"taskId":"other","agent":"pi","turns":[]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
async def test_a_cache_that_is_no_good_is_built_again(cached, tmp_path, damage):
    await cached.conversation("t1")
    (tmp_path / "t1" / "conversation.json").write_bytes(damage)
    (tmp_path / "t1" / "task.json").write_bytes(damage)

    assert ConversationCache(tmp_path).conversation("t1") is None
    assert texts(await cached.conversation("t1")) == ["Answer 1", "Answer 2"]
    assert texts(ConversationCache(tmp_path).conversation("t1")) == ["Answer 1", "Answer 2"]


async def test_a_cache_with_a_turn_missing_is_built_again(cached, tmp_path, guest):
    await cached.conversation("t1")
    path = tmp_path / "t1" / "conversation.json"
    kept = json.loads(path.read_bytes())
    del kept["turns"][0]
    path.write_text(json.dumps(kept))

    assert len((await cached.conversation("t1")).turns) == 2
    assert asked_from(guest) == [1, 1]


async def test_a_folder_that_cannot_be_written_costs_the_cache_and_not_the_answer(guest, tmp_path):
    guest.add_task("t1")
    guest.save_turn("t1", "u1", "p1", "Answer 1")
    (tmp_path / "file").touch()

    async with connect(guest.dial, cache_dir=tmp_path / "file") as client:
        assert texts(await client.conversation("t1")) == ["Answer 1"]


async def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(cached, tmp_path):
    (tmp_path / "elsewhere").write_text("keep me")
    (tmp_path / "t1").mkdir()
    (tmp_path / "t1" / "conversation.json").symlink_to(tmp_path / "elsewhere")

    await cached.conversation("t1")

    assert (tmp_path / "elsewhere").read_text() == "keep me"
    assert not (tmp_path / "t1" / "conversation.json").is_symlink()


async def test_without_a_folder_nothing_is_kept(guest):
    guest.add_task("t1")
    guest.save_turn("t1", "u1", "p1", "Answer 1")

    async with connect(guest.dial) as client:
        for _ in range(2):
            assert texts(await client.conversation("t1")) == ["Answer 1"]
    assert asked_from(guest) == [1, 1]


async def test_what_is_cached_can_be_shown_without_a_guest(cached, tmp_path, guest):
    await cached.conversation("t1")
    guest.drop()
    with pytest.raises(ConnectionLost):
        await cached.conversation("t1")

    cache = ConversationCache(tmp_path)
    assert texts(cache.conversation("t1")) == ["Answer 1", "Answer 2"]
    assert [task.task_id for task in cache.tasks()] == ["t1"]
    assert cache.task("t9") is None
    assert cache.conversation("../t1") is None
    assert ConversationCache(tmp_path / "none").tasks() == []
