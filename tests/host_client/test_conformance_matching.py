"""What fits in a transcript, and how it is told what does not."""

import pytest

from host_client.conformance.matching import SHOWN_CHARS, UnknownMatcher, compare, fill, show


def fits(expected, heard, **bindings):
    return compare(expected, heard, {"$run": "run-1", **bindings}) == []


@pytest.mark.parametrize(
    ("expected", "heard"),
    [
        (1, 1),
        (1, 1.0),
        (None, None),
        ("a", "a"),
        ({}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1, {"a": 1}], [1, {"a": 1, "b": 2}]),
        ({"$any": True}, None),
        ({"a": {"$absent": True}}, {}),
        ({"$type": "integer"}, 7),
        ({"$type": "number"}, 7.5),
        ({"$type": "boolean"}, False),
        ({"$type": "null"}, None),
        ({"$match": "[a-c]+"}, "abc"),
        ({"$one_of": [1, {"$type": "string"}]}, "x"),
        ({"$has": [2, {"a": 1}]}, [{"a": 1, "b": 1}, 1, 2]),
        ({"$all": [2, 1]}, [1, 2]),
        ({"$id": "x"}, "run-1-x"),
        ({"$type": "string", "$match": "a.*", "$bind": "x"}, "ab"),
    ],
)
def test_this_fits(expected, heard):
    assert fits(expected, heard)


@pytest.mark.parametrize(
    ("expected", "heard", "difference"),
    [
        (1, True, "$: expected 1, heard true"),
        (0, False, "$: expected 0, heard false"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "$.a.b[1]: expected 2, heard 3"),
        ({"a": 1}, {}, "$.a: expected 1, heard nothing"),
        ({"a": {"$absent": True}}, {"a": 1}, "$.a: expected nothing, heard 1"),
        ({"a": {"$any": True}}, {}, '$.a: expected {"$any": true}, heard nothing'),
        ([1], [1, 2], "$: expected [1], heard [1, 2]"),
        ({"$type": "integer"}, True, "$: expected a value of type integer, heard true"),
        ({"$match": "a"}, "ab", '$: expected a string like a, heard "ab"'),
        ({"$has": [1, 1]}, [1], "$: expected an array with 1, heard [1]"),
        ({"$all": [1]}, [1, 1], "$: expected an array of 1 elements, heard [1, 1]"),
        ({"$one_of": [1]}, 2, "$: expected one of [1], heard 2"),
        ({"$append": "x"}, 1, "$: expected a string, heard 1"),
    ],
)
def test_this_does_not_and_it_is_said_where(expected, heard, difference):
    assert [str(one) for one in compare(expected, heard, {})] == [difference]


def test_every_difference_is_told():
    assert len(compare({"a": 1, "b": 2, "c": 3}, {"a": 0, "b": 2}, {})) == 2


def test_what_is_bound_is_used_later():
    bindings = {}
    assert compare({"a": {"$bind": "x"}}, {"a": [1]}, bindings) == []
    assert compare({"$use": "x"}, [1], bindings) == []
    assert compare({"$use": "x"}, [2], bindings) != []
    assert fill({"id": {"$use": "x"}, "list": [{"$use": "x"}]}, bindings) == {"id": [1], "list": [[1]]}


def test_nothing_is_bound_by_what_does_not_fit():
    bindings = {}
    compare({"a": {"$bind": "x"}, "b": 1}, {"a": 1, "b": 2}, bindings)
    assert bindings == {}


def test_pieces_are_joined():
    bindings = {}
    for piece in ("a", "b"):
        compare({"$append": "text"}, piece, bindings)
    assert bindings == {"text": "ab"}


@pytest.mark.parametrize("wrong", [{"$use": "nobody"}, {"$like": 1}, {"$type": "text"}, {"$id": "x"}])
def test_a_matcher_that_does_not_exist_is_no_difference_but_a_mistake(wrong):
    with pytest.raises(UnknownMatcher):
        compare(wrong, "x", {})


def test_long_values_are_shown_shortened():
    assert len(show("x" * 10_000)) < SHOWN_CHARS + 40
