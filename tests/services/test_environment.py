"""The environment of an agent: what it gets, what it never gets, and which files of secrets are refused."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.agents.base import AgentProfile
from taskd.model.errors import Code, TaskdError
from taskd.model.limits import Limits
from taskd.services.environment import (
    DEFAULT_ENV_PASS,
    DEFAULT_PATH,
    EnvFileError,
    agent_environment,
    parse_env_file,
)

ME = os.geteuid()


def _profile(**fields) -> AgentProfile:
    return AgentProfile(protocol="pi", command=("pi",), **fields)


def _built(environ, profile=None, *, name="pi", env_pass=DEFAULT_ENV_PASS, limits=None):
    return agent_environment(profile or _profile(), name, environ, env_pass=env_pass, limits=limits or Limits(), uid=ME)


def _secret(path, text: str, mode: int = 0o600) -> str:
    path.write_bytes(text.encode())
    path.chmod(mode)
    return str(path)


def test_an_agent_gets_the_allowed_names_and_nothing_else() -> None:
    environ = {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "LCX": "no", "OPENAI_API_KEY": "s", "SSH_AUTH_SOCK": "x"}
    assert _built(environ) == {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C"}


def test_a_profile_may_ask_for_more_names_for_its_agent() -> None:
    environ = {"PATH": "/bin", "HTTPS_PROXY": "p", "NODE_A": "1", "NODE_B": "2", "OTHER": "o"}
    built = _built(environ, _profile(env_pass=("HTTPS_PROXY", "NODE_*")))
    assert built == {"PATH": "/bin", "HTTPS_PROXY": "p", "NODE_A": "1", "NODE_B": "2"}


def test_no_pattern_passes_what_would_let_an_agent_act_as_the_daemon() -> None:
    environ = {
        "PATH": "/bin", "TASKD_TOKEN_FILE": "t", "NOTIFY_SOCKET": "n", "LISTEN_FDS": "1", "LISTEN_PID": "1",
        "WATCHDOG_USEC": "1", "CREDENTIALS_DIRECTORY": "/nowhere",
    }  # fmt: skip
    assert _built(environ, _profile(env_pass=("*", "TASKD_TOKEN_FILE"))) == {"PATH": "/bin"}


def test_an_agent_gets_a_usable_path_when_the_daemon_has_none() -> None:
    assert _built({}) == {"PATH": DEFAULT_PATH}


def test_values_of_the_profile_win_over_credentials_over_the_env_file_over_what_is_passed(tmp_path) -> None:
    env_file = _secret(tmp_path / "secrets", "A=file\nB=file\nC=file\n")
    _secret(tmp_path / "pi.env", "B=credential\nC=credential\n", 0o440)
    environ = {"PATH": "/bin", "A": "passed", "D": "passed", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    built = _built(environ, _profile(env={"C": "profile"}, env_pass=("A", "D"), env_file=env_file))
    assert built == {"PATH": "/bin", "A": "file", "B": "credential", "C": "profile", "D": "passed"}


def test_credentials_are_found_by_the_agents_name_and_need_not_be_there(tmp_path) -> None:
    _secret(tmp_path / "pi.env", "KEY=1\n", 0o400)
    environ = {"PATH": "/bin", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert _built(environ, name="pi") == {"PATH": "/bin", "KEY": "1"}
    assert _built(environ, name="other") == {"PATH": "/bin"}


def test_a_changed_env_file_counts_at_the_next_spawn(tmp_path) -> None:
    path = tmp_path / "secrets"
    profile = _profile(env_file=_secret(path, "KEY=old\n"))
    assert _built({}, profile)["KEY"] == "old"
    _secret(path, "KEY=new\n")
    assert _built({}, profile)["KEY"] == "new"


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        ("KEY=hunter2", 0o644, "has mode 0644"),
        ("KEY=hunter2", 0o640, "has mode 0640"),
        ("hunter2", 0o600, "line 1 is not KEY=VALUE"),
        ("KEY=hunter2\n" * 10, 0o600, "is longer than 100 bytes"),
    ],
)
def test_a_bad_env_file_fails_the_start_with_a_reason_and_without_its_content(tmp_path, content, mode, reason) -> None:
    path = _secret(tmp_path / "secrets", content, mode)
    with pytest.raises(TaskdError) as caught:
        _built({}, _profile(env_file=path), limits=Limits(env_file_bytes=100))
    assert caught.value.code is Code.TASK_BOOTSTRAP_FAILED
    assert reason in caught.value.message
    assert path in caught.value.message
    assert "hunter2" not in repr(caught.value) + str(caught.value.__cause__)


def test_an_env_file_that_was_asked_for_must_be_there(tmp_path) -> None:
    with pytest.raises(TaskdError, match="does not exist"):
        _built({}, _profile(env_file=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("K=v", "v"),
        ("K=", ""),
        ("K=  padded \t", "padded"),
        ("  export K=v", "v"),
        ("K=v # comment", "v"),
        ("K=v#no comment", "v#no comment"),
        ("K= # comment", ""),
        ("K=a=b", "a=b"),
        ("K=$HOME ${X} `x`", "$HOME ${X} `x`"),
        ("K='single # \\n \"'", 'single # \\n "'),
        ('K="double # \\n \\t \\" \\\\ \\$ \\x"', 'double # \n \t " \\ $ \\x'),
        ('K="q" # comment', "q"),
        ("K=it's", "it's"),
        ("K=v\r", "v"),
        ("K=ä\u2028ö", "ä\u2028ö"),
    ],
)
def test_a_line_of_an_env_file_gives_its_value(line, value) -> None:
    assert parse_env_file(line.encode()) == {"K": value}


def test_an_env_file_may_hold_comments_blanks_a_byte_order_mark_and_a_name_twice() -> None:
    assert parse_env_file(b"\xef\xbb\xbf# head\n\n A=1 \nB=2\nA=3\n  # end\n") == {"A": "3", "B": "2"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"A=1\nnothing", "line 2 is not"),
        (b"=v", "line 1 is not"),
        (b"A B=v", "line 1 is not"),
        (b"1A=v", "line 1 has no legal name"),
        (b"A =v", "line 1 has no legal name"),
        (b"A-B=v", "line 1 has no legal name"),
        (b"A='x", "line 1 has a quote that is not closed"),
        (b'A="x\\"', "line 1 has a quote that is not closed"),
        (b'A="x" y', "line 1 goes on after its closing quote"),
        (b"A=a\0b", "line 1 holds a NUL"),
        (b"A=\xff", "not UTF-8"),
    ],
)
def test_a_line_that_is_none_is_refused_with_its_number(data, reason) -> None:
    with pytest.raises(EnvFileError, match=reason):
        parse_env_file(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_env_file_or_an_env_file_error(data) -> None:
    try:
        found = parse_env_file(data)
    except EnvFileError:
        return
    assert all("=" not in name and "\0" not in name + value for name, value in found.items())


_VALUES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), _VALUES))
def test_every_value_can_be_written_in_double_quotes(values) -> None:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "$": "\\$"}
    lines = [f'{name}="{"".join(escapes.get(char, char) for char in value)}"' for name, value in values.items()]
    assert parse_env_file("\n".join(lines).encode()) == values
