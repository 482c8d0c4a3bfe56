"""Settings: which source wins, what is wrong and where, and what `taskd check` shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.edge.settings import BUILT_IN_COMMAND, Settings, explain, load_settings, resolve
from taskd.edge.settings_sources import (
    Entry,
    SettingsError,
    Surroundings,
    cmdline_entries,
    early_listen,
    environ_entries,
    file_entries,
    flag_entries,
    wants_kernel_cmdline,
)
from taskd.model.address import SystemdAddress, TcpAddress, UnixAddress, VsockAddress
from taskd.model.limits import DEFAULT_LIMITS, Limits


def _around(environ=None, **changes) -> Surroundings:
    facts = {"environ": environ or {}, "uid": 1000, "home": "/home/u", "cwd": "/cwd", "pid": 50, "ppid": 40}
    return Surroundings(**(facts | changes))


def _from(*, toml="", cmdline="", environ=None, flags=None, around=None, protocols=()) -> Settings:
    entries = file_entries(toml.encode(), "f.toml") | cmdline_entries(cmdline)
    entries |= environ_entries(environ or {}) | flag_entries(flags or {})
    return resolve(entries, around or _around(), protocols)


def _problems(**sources) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        _from(**sources)
    return [str(problem) for problem in caught.value.problems]


# What is there when nobody sets anything -----------------------------------------------------------------------------


def test_without_any_source_everything_has_a_usable_default() -> None:
    settings = _from()
    assert settings.state_dir == "/home/u/.local/state/taskd"
    assert settings.token_file == "/home/u/.local/state/taskd/.taskd/token"
    assert settings.listen == (UnixAddress("/home/u/.local/state/taskd/taskd.sock"),)
    assert settings.default_agent == "shell"
    assert settings.agents["shell"].protocol == "pi"
    assert settings.agents["shell"].command == BUILT_IN_COMMAND
    assert settings.allowed_cids == (2,)
    assert settings.allowed_uids == ()
    assert not settings.allow_unauthenticated
    assert settings.fsync
    assert settings.limits == DEFAULT_LIMITS
    assert settings.sources == {}


def test_the_token_file_lies_in_the_state_folder_that_was_chosen() -> None:
    assert _from(flags={"state_dir": "/s"}).token_file == "/s/.taskd/token"


def test_sockets_of_systemd_are_the_default_when_they_are_meant_for_us() -> None:
    assert _from(around=_around({"LISTEN_PID": "50", "LISTEN_FDS": "1"})).listen == (SystemdAddress(),)
    assert _from(around=_around({"LISTEN_PID": "51", "LISTEN_FDS": "1"})).listen != (SystemdAddress(),)


# Which source wins ---------------------------------------------------------------------------------------------------


def test_a_stronger_source_wins_and_every_value_knows_its_source() -> None:
    toml, cmdline = 'log_level = "error"', "taskd.log_level=warning"
    environ, flags = {"TASKD_LOG_LEVEL": "debug"}, {"log_level": "info"}
    assert _from(toml=toml).sources == {"log_level": "file f.toml"}
    assert _from(toml=toml, cmdline=cmdline).log_level == "warning"
    settings = _from(toml=toml, cmdline=cmdline, environ=environ)
    assert (settings.log_level, settings.sources["log_level"]) == ("debug", "environment TASKD_LOG_LEVEL")
    settings = _from(toml=toml, cmdline=cmdline, environ=environ, flags=flags)
    assert (settings.log_level, settings.sources["log_level"]) == ("info", "flag --log-level")


def test_a_flag_that_was_not_given_sets_nothing() -> None:
    assert _from(toml='log_level = "error"', flags={"log_level": None}).log_level == "error"


def test_sources_are_laid_over_each_other_value_by_value() -> None:
    toml = "[agents.pi]\nprotocol = 'pi'\ncommand = ['pi']\nenv = {A = '1', B = '2'}\n[limits]\ntasks = 5\nchannels = 6"
    environ = {"TASKD_AGENTS__PI__ENV__B": "3", "TASKD_LIMITS__TASKS": "7"}
    settings = _from(toml=toml, environ=environ)
    assert settings.agents["pi"].env == {"A": "1", "B": "3"}
    assert settings.agents["pi"].command == ("pi",)
    assert (settings.limits.tasks, settings.limits.channels) == (7, 6)


def test_both_spellings_of_a_limit_in_the_environment_mean_the_same() -> None:
    assert _from(environ={"TASKD_LIMITS__OUTBOX_BYTES": "9"}).limits.outbox_bytes == 9
    assert _from(environ={"TASKD_LIMITS_OUTBOX_BYTES": "9"}).limits.outbox_bytes == 9


def test_names_in_an_agents_environment_keep_their_case_and_their_underscores() -> None:
    environ = {
        "TASKD_AGENTS__PI__ENV__aB__C": "x",
        "TASKD_AGENTS__PI__PROTOCOL": "pi",
        "TASKD_AGENTS__PI__COMMAND": "p",
    }
    assert _from(environ=environ).agents["pi"].env == {"aB__C": "x"}


def test_names_that_other_programs_read_are_no_settings() -> None:
    others = {"TASKD_CONFIG": "x", "TASKD_KERNEL_CMDLINE": "1", "TASKD_ADDRESS": "y", "TASKD_TOKEN": "z", "OTHER": "o"}
    assert _from(environ=others).sources == {}


def test_the_built_in_agent_can_be_changed_value_by_value() -> None:
    profile = _from(toml="[agents.shell]\nenv_pass = ['EDITOR']").agents["shell"]
    assert profile.env_pass == ("EDITOR",)
    assert profile.command == BUILT_IN_COMMAND


# The kernel command line ---------------------------------------------------------------------------------------------


def test_words_of_the_kernel_command_line_become_settings() -> None:
    text = "quiet taskd.listen=vsock:5000,unix:/s taskd.fsync taskd.limits.outbox-bytes=7 root=/dev/vda\n"
    settings = _from(cmdline=text)
    assert settings.listen == (VsockAddress(5000), UnixAddress("/s"))
    assert settings.fsync
    assert settings.limits.outbox_bytes == 7
    assert settings.sources["listen"] == "kernel command line"


def test_quotes_keep_blanks_together_and_words_after_two_dashes_are_for_init() -> None:
    text = 'taskd.agents.my-pi.command="pi --mode rpc" "taskd.agents.my-pi.protocol=pi" -- taskd.nonsense=1'
    assert _from(cmdline=text).agents["my-pi"].command == ("pi", "--mode", "rpc")


@pytest.mark.parametrize(
    ("flags", "environ", "facts", "wanted"),
    [
        ({}, {}, {}, False),
        ({}, {}, {"ppid": 1}, True),
        ({}, {}, {"pid": 1, "ppid": 0}, True),
        ({}, {"TASKD_KERNEL_CMDLINE": "1"}, {}, True),
        ({}, {"TASKD_KERNEL_CMDLINE": "0"}, {"ppid": 1}, False),
        ({"kernel_cmdline": True}, {}, {}, True),
        ({"kernel_cmdline": False}, {"TASKD_KERNEL_CMDLINE": "1"}, {"ppid": 1}, False),
    ],
)
def test_the_kernel_command_line_counts_under_init_or_when_asked_for(flags, environ, facts, wanted) -> None:
    assert wants_kernel_cmdline(flags, _around(environ, **facts)) is wanted


@given(st.text(max_size=200))
def test_any_kernel_command_line_can_be_read(text) -> None:
    assert all(entry.text for entry in cmdline_entries(text).values())


# What is wrong and where ---------------------------------------------------------------------------------------------


def test_an_unknown_key_is_a_problem_with_a_suggestion() -> None:
    assert _problems(toml="lisen = []") == ["lisen (file f.toml): there is no such setting; did you mean listen?"]
    assert _problems(environ={"TASKD_LIMITS_OUTBOX_BYTS": "1"}) == [
        "limits.outbox_byts (environment TASKD_LIMITS_OUTBOX_BYTS): there is no such setting;"
        " did you mean limits.outbox_bytes?"
    ]
    assert "did you mean agents.pi.command?" in _problems(toml="[agents.pi]\nprotocol='pi'\ncomand='x'")[0]
    assert _problems(cmdline="taskd.zzzzzz=1") == ["zzzzzz (kernel command line): there is no such setting"]


def test_all_problems_are_told_at_once() -> None:
    assert len(_problems(toml="fsync = 1\nlog_level = 'loud'", environ={"TASKD_LISTEN": "nowhere"})) == 3


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("fsync = 'yes'", "expected true or false"),
        ("fsync = 1", "expected true or false"),
        ("log_level = 3", "expected one of debug, info, warning, error"),
        ("log_format = 'xml'", "expected one of auto, json, console"),
        ("state_dir = 5", "expected a path"),
        ("state_dir = ''", "expected a path"),
        ("default_agent = ['a']", "expected a text"),
        ("allowed_uids = 'root'", "expected a list of whole numbers"),
        ("allowed_uids = [-1]", "expected a list of whole numbers"),
        ("allowed_uids = [true]", "expected a list of whole numbers"),
        ("allowed_cids = [4294967296]", "expected a list of whole numbers"),
        ("listen = 'unix:/s'", "expected a list of addresses"),
        ("listen = []", "expected at least one address"),
        ("listen = ['unix:/s', 'unix:/s']", "expected each address once"),
        ("listen = ['unix:s']", "the path must be absolute"),
        ("listen = ['exec:ssh x']", "where a host goes"),
        ("env_pass = ['TASKD_TOKEN']", "no agent is given"),
        ("limits = 5", "expected a table"),
        ("limits.tasks = '5'", "expected a positive whole number"),
        ("limits.tasks = 5.0", "expected a positive whole number"),
        ("limits.tasks = 0", "expected a positive whole number"),
        ("limits.tasks = true", "expected a positive whole number"),
        ("limits.abort_seconds = inf", "expected a positive number of seconds"),
        ("limits.abort_seconds = nan", "expected a positive number of seconds"),
        ("limits.abort_seconds = -1", "expected a positive number of seconds"),
        ("limits.watchdog_share = 1.5", "expected a number above 0 and up to 1"),
        ("limits.tasks.more = 1", "there is no such setting"),
        ("agents = 5", "expected a table"),
        ("agents.x = 5", "expected a table"),
        ("agents.x = {}", "must be set"),
        ("agents.x = {protocol = 'pi'}", "must be set"),
        ("agents.X = {protocol = 'pi', command = 'x'}", "an agent's name is"),
        ("agents.'a b' = {protocol = 'pi', command = 'x'}", "an agent's name is"),
        ("agents.x = {protocol = 'pi', command = []}", "expected a command"),
        ("agents.x = {protocol = 'pi', command = ''}", "expected a command"),
        ("agents.x = {protocol = 'pi', command = 'a \"b'}", "expected a command"),
        ("agents.x = {protocol = 'pi', command = [1]}", "expected a command"),
        ("agents.x = {protocol = 'pi', command = 'x', env = 'A=1'}", "expected a table"),
        ("agents.x = {protocol = 'pi', command = 'x', env = {A = 1}}", "expected a text"),
        ("agents.x = {protocol = 'pi', command = 'x', env = {'A-B' = '1'}}", "no name that an environment variable"),
        ("agents.x = {protocol = 'pi', command = 'x', env = {TASKD_A = '1'}}", "no agent is given"),
        ("default_agent = 'nobody'", "expected one of shell"),
    ],
)
def test_a_wrong_value_names_the_key_the_source_and_what_was_expected(toml, expected) -> None:
    problems = _problems(toml=toml)
    assert any(expected in problem for problem in problems)
    assert all("(file f.toml)" in problem for problem in problems)


def test_a_wrong_field_of_an_agent_is_told_once() -> None:
    assert len(_problems(toml="[agents.x]\nprotocol = 'pi'\ncommand = 5")) == 1


def test_a_missing_field_names_where_the_agent_stands() -> None:
    assert _problems(environ={"TASKD_AGENTS__X__COMMAND": "x"}) == [
        "agents.x.protocol (environment TASKD_AGENTS__X__COMMAND): must be set"
    ]


def test_a_protocol_that_nobody_speaks_is_a_problem_when_the_protocols_are_known() -> None:
    toml = "[agents.x]\nprotocol = 'telnet'\ncommand = 'x'"
    assert _problems(toml=toml, protocols=("pi", "acp")) == ["agents.x.protocol (file f.toml): expected one of acp, pi"]
    assert _from(toml=toml).agents["x"].protocol == "telnet"


def test_a_secret_in_an_agents_environment_never_shows_in_a_problem() -> None:
    toml = "[agents.x]\nprotocol = 'pi'\ncommand = 'x'\nenv = {'BAD-NAME' = 'hunter2', B = ['hunter2']}"
    assert "hunter2" not in "".join(_problems(toml=toml))


def test_a_file_that_is_no_toml_is_told_with_the_place() -> None:
    for data in (b"a = ", b"\xff = 1"):
        with pytest.raises(SettingsError, match=r"file f\.toml: is no TOML"):
            file_entries(data, "f.toml")


@given(
    st.dictionaries(st.sampled_from([*Settings.__struct_fields__, *Limits.__struct_fields__]), st.text(max_size=30)),
    st.booleans(),
)
def test_any_texts_give_settings_or_a_settings_error(values, below_limits) -> None:
    entries = {
        (("limits", name) if below_limits else (name,)): Entry(text, "test", True) for name, text in values.items()
    }
    try:
        resolve(entries, _around())
    except SettingsError as error:
        problems = error.problems
    else:
        problems = ()
    assert {problem.source for problem in problems} <= {"test"}


# Values --------------------------------------------------------------------------------------------------------------


def test_texts_stand_for_numbers_truths_and_lists_where_only_texts_can_be_given() -> None:
    settings = _from(
        environ={
            "TASKD_ALLOWED_UIDS": "1000, 1001",
            "TASKD_FSYNC": "Off",
            "TASKD_LIMITS__ABORT_SECONDS": "1.5",
            "TASKD_LISTEN": "unix:/s tcp:[::1]:0",
        }
    )
    assert settings.allowed_uids == (1000, 1001)
    assert settings.fsync is False
    assert settings.limits.abort_seconds == 1.5
    assert settings.listen == (UnixAddress("/s"), TcpAddress("::1", 0))


def test_flags_may_be_texts_or_values() -> None:
    flags = {"allowed_uids": ["5", "6"], "fsync": False, "limits.tasks": 7, "limits.channels": "8", "listen": ["stdio"]}
    settings = _from(flags=flags)
    assert settings.allowed_uids == (5, 6)
    assert (settings.fsync, settings.limits.tasks, settings.limits.channels) == (False, 7, 8)
    assert settings.sources["limits.channels"] == "flag --limits.channels"


def test_paths_are_made_absolute() -> None:
    assert _from(flags={"state_dir": "x/../y"}).state_dir == "/cwd/y"
    assert _from(flags={"workspace_root": "~/w"}).workspace_root == "/home/u/w"
    toml = "[agents.x]\nprotocol='pi'\ncommand='x'\nenv_file='~/keys'"
    assert _from(toml=toml).agents["x"].env_file == "/home/u/keys"


def test_a_command_is_split_as_a_shell_would_and_nothing_is_expanded() -> None:
    toml = "[agents.x]\nprotocol='pi'\ncommand=\"pi 'a b' $HOME *\""
    assert _from(toml=toml).agents["x"].command == ("pi", "a b", "$HOME", "*")


def test_a_whole_number_is_good_for_a_time() -> None:
    assert _from(toml="limits.abort_seconds = 3").limits.abort_seconds == 3.0


# What `taskd check` shows --------------------------------------------------------------------------------------------


def test_every_setting_is_shown_with_its_source_and_no_secret() -> None:
    toml = """
        allowed_uids = [0, 1]
        [agents.x]
        protocol = "pi"
        command = "pi --api-key hunter2 --token=hunter2 --mode rpc"
        env = {KEY = "hunter2", PLAIN = "hunter2"}
    """
    rows = {key: (shown, source) for key, shown, source in explain(_from(toml=toml))}
    assert "hunter2" not in str(rows)
    assert rows["agents.x.command"] == ("pi --api-key *** --token=*** --mode rpc", "file f.toml")
    assert rows["agents.x.env.PLAIN"] == ("***", "file f.toml")
    assert rows["allowed_uids"] == ("0 1", "file f.toml")
    assert rows["fsync"] == ("true", "default")
    assert rows["workspace_root"] == ("-", "default")
    assert rows["listen"] == ("unix:/home/u/.local/state/taskd/taskd.sock", "default")
    assert {f"limits.{name}" for name in Limits.__struct_fields__} <= set(rows)


# Reading the real sources --------------------------------------------------------------------------------------------


def test_the_file_is_found_by_flag_or_environment_and_must_then_be_there(tmp_path) -> None:
    path = tmp_path / "t.toml"
    path.write_text("log_level = 'error'")
    around = _around(cwd=str(tmp_path))
    assert load_settings({"config": "t.toml"}, around).log_level == "error"
    assert load_settings({}, _around({"TASKD_CONFIG": str(path)})).log_level == "error"
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings({"config": "none.toml"}, around)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings({"config": "."}, around)


def test_a_file_beyond_its_bound_is_refused(tmp_path) -> None:
    (tmp_path / "t.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(SettingsError, match="longer than"):
        load_settings({"config": "t.toml"}, _around(cwd=str(tmp_path)))


@pytest.mark.parametrize(
    ("environ", "flags"),
    [
        ({}, {}),
        ({"TASKD_LISTEN": "unix:/a,tcp:127.0.0.1:1"}, {}),
        ({"TASKD_LISTEN": "unix:/a"}, {"listen": ["unix:/b", "stdio"]}),
        ({"LISTEN_PID": "50"}, {}),
        ({"TASKD_CONFIG": "t.toml"}, {}),
    ],
)
def test_the_early_look_at_where_to_listen_comes_to_the_same_answer(tmp_path, environ, flags) -> None:
    (tmp_path / "t.toml").write_text("listen = ['vsock:5000', 'unix:/f']")
    around = _around(environ, cwd=str(tmp_path))
    assert early_listen(flags, around) == load_settings(flags, around).listen


def test_the_early_look_does_not_read_the_file_when_a_stronger_source_says_it() -> None:
    around = _around({"TASKD_CONFIG": "/nowhere/at/all.toml"})
    assert early_listen({"listen": ["unix:/b"]}, around) == (UnixAddress("/b"),)
