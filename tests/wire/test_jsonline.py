"""Strict in, never failing out: UTF-8, depth, half surrogates."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.model.errors import Code, TaskdError
from taskd.wire.jsonline import MAX_DEPTH, MAX_SURROGATES, encode, mend, parse

ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])


def refusal(line: bytes) -> str:
    with pytest.raises(TaskdError) as caught:
        parse(line, RAW)
    assert caught.value.code is Code.PARSE_ERROR
    return caught.value.message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"nonsense",
        b'{"a":1',
        b'{"a":1}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":"\x00"}',
        b'{"a":"\n"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1} {"a":1}',
    ],
)
def test_what_is_no_json_is_a_parse_error(line: bytes) -> None:
    refusal(line)


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"])
def test_what_is_no_utf8_is_a_parse_error_also_where_nothing_decodes_it(text: bytes) -> None:
    assert refusal(b'{"a":{"b":"' + text + b'"}}') == "the line is not UTF-8 at byte 11"


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"a":' + b"[]," * 5_000 + b"[" * 300,
        b'{"a":' + b'["]",' * 300,
        b'{"a":' + b'["\\"[",' * 300,
        b'{"a":' + b'["\\\\",' * 300,
    ],
)
def test_a_nesting_bomb_is_a_parse_error(line: bytes) -> None:
    assert refusal(line) == f"the line is nested deeper than {MAX_DEPTH}"


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}",
        b'{"a":[' + b"[]," * 50_000 + b"1]}",
        b'{"a":"' + b"[" * 100_000 + b'"}',
        b'{"a":["' + b'\\"[' * 1_000 + b'"]}',
        b'{"a":["\\\\",' + b'"[",' * 1_000 + b"1]}",
        b'{"a":[' + b'{"[[[[":"[[[["},' * 10_000 + b"1]}",
    ],
)
def test_many_brackets_that_are_not_nested_are_fine(line: bytes) -> None:
    assert bytes(parse(line, RAW)["a"]) == line[5:-1]


@given(st.recursive(st.text('[]{}"\\a', max_size=6), lambda inner: st.lists(inner, max_size=5), max_leaves=60))
def test_depth_is_found_in_spite_of_brackets_in_strings(tree: Any) -> None:
    def depth(node: Any) -> int:
        return 1 + max(map(depth, node), default=0) if isinstance(node, list) else 0

    padding = "[" * (2 * MAX_DEPTH)
    for levels in (MAX_DEPTH - 1 - depth(tree), MAX_DEPTH - depth(tree)):
        line = f"{'[' * levels}{json.dumps([padding, tree])}{']' * levels}".encode()
        if 1 + levels + depth(tree) > MAX_DEPTH:
            refusal(line)
        else:
            parse(line, ANY)


def test_the_last_of_a_repeated_key_counts() -> None:
    assert bytes(parse(b'{"a":1,"a":2}', RAW)["a"]) == b"2"


def test_line_separators_and_escaped_nul_inside_strings_are_fine() -> None:
    assert parse('{"a":"\u2028\\u0000"}'.encode(), ANY) == {"a": "\u2028\0"}


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"\uDE00", "\ufffd"),
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"a\ud83d\ud83d\ude00\ude00b", "a\ufffd\U0001f600\ufffdb"),
        (rb"\\ud83d\ud83d", "\\ud83d\ufffd"),
        (rb"\\\ud83d", "\\\ufffd"),
        (rb"\\ud83d\ude00", "\\ud83d\ufffd"),
    ],
)
def test_half_a_surrogate_pair_becomes_a_replacement_character(text: bytes, mended: str) -> None:
    assert parse(b'{"a":"' + text + b'"}', ANY) == {"a": mended}


@given(st.text(st.characters(), max_size=40))
def test_what_python_or_javascript_writes_for_any_text_is_read(text: str) -> None:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert parse(json.dumps({"a": text}).encode(), ANY) == {"a": whole}
    assert parse(json.dumps({"a": whole}, ensure_ascii=False).encode(), ANY) == {"a": whole}


def test_a_mended_line_may_still_be_of_another_shape_or_no_json() -> None:
    with pytest.raises(msgspec.ValidationError):
        parse(rb'["\ud83d"]', msgspec.json.Decoder(list[int | None] | dict[str, str]))
    with pytest.raises(msgspec.ValidationError):
        parse(rb'{"a":"\ud83d","b":1}', msgspec.json.Decoder(dict[str, str]))
    refusal(rb'{"a":"\ud83d",}')


def test_mending_stops_at_its_bound() -> None:
    line = b'"' + rb"\ud83d" * (MAX_SURROGATES + 1) + b'"'
    assert mend(line) == line
    with pytest.raises(TaskdError):
        parse(line, ANY)


@given(st.binary(max_size=200))
def test_no_bytes_make_parsing_raise_anything_else(line: bytes) -> None:
    with suppress(TaskdError, msgspec.ValidationError):
        parse(line, RAW)


class Row(msgspec.Struct, rename="camel"):
    file_name: str
    raw: msgspec.Raw
    sizes: tuple[int, ...] = (1,)


def test_a_name_that_is_not_utf8_does_not_make_an_answer_impossible() -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")
    assert json.loads(encode(Row(name, msgspec.Raw(b'{"x":[1]}')))) == {
        "fileName": "caf\ufffd",
        "raw": {"x": [1]},
        "sizes": [1],
    }
    assert json.loads(encode({name: [name]})) == {"caf\ufffd": ["caf\ufffd"]}


def test_whatever_cannot_be_json_is_still_the_programmers_fault() -> None:
    with pytest.raises(TypeError):
        encode({"a": object()})
    with pytest.raises(TypeError):
        encode({"a": "\udc80", "b": object()})
