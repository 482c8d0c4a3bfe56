"""What an agent's text may do to a person's terminal: nothing but appear.

An agent's output is not trusted. Written to a terminal as it is, it could move the cursor over what was said before,
set the title, ring, fill the clipboard, or draw a question that nobody asked. So on a terminal

    colours and other attributes (SGR)                 stay; the screen ends them with the text
    every other escape sequence                        is left out
    carriage returns                                   become line ends, so that nothing is written over
    other control characters                           are shown, as ␀ ␇ ␈ ␡, C1 and bidi overrides as �

and `one_line` leaves nothing but a line of plain text, for fields in tables and for questions. Text that goes to a
pipe or a file is never changed: there it is data.

Pure; text comes in pieces, and a sequence may be cut anywhere between them.
"""

import re
from typing import Final

MAX_SEQUENCE_CHARS: Final = 64
"""Parameters of a control sequence; a longer one is none, and its characters are shown."""

_STRING_START: Final = r"\x1b[\]PX^_]"
_STRING_END: Final = re.compile(r"\x07|\x9c|\x1b\\|(?=\n)|(?=\x1b[^\\])")
_CUT_STRING: Final = re.compile(_STRING_START + r"[^\x07\x1b\x9c\n]*(\x1b?)\Z")
_CUT: Final = re.compile(rf"(?:\x1b(?:\[[0-?]{{0,{MAX_SEQUENCE_CHARS}}}[ -/]?|[ -/])?|\r)\Z")
_TOKEN: Final = re.compile(
    rf"(?P<colour>\x1b\[[0-9;:]{{0,{MAX_SEQUENCE_CHARS}}}m)"
    rf"|\x1b\[[0-?]{{0,{MAX_SEQUENCE_CHARS}}}[ -/]?[@-~]"
    rf"|{_STRING_START}[^\x07\x1b\x9c\n]*(?:\x07|\x9c|\x1b\\|(?=\n)|(?=\x1b)|\Z)"
    r"|\x1b[ -/]?[0-OQ-WYZ\\`-~]"
    r"|\x1b"
    r"|(?P<line>\r\n?)"
    r"|(?P<control>[\x00-\x08\x0b-\x1f\x7f])"
    r"|(?P<hidden>[\x80-\x9f\u202a-\u202e\u2066-\u2069])"
)


class Cleaner:
    """Cleans one stream of text, piece by piece.

    Args:
        colours: let colours through; otherwise they are left out too.
    """

    def __init__(self, *, colours: bool = True) -> None:
        self._colours = colours
        self._held = ""
        self._in_string = False

    def feed(self, text: str) -> str:
        """Give what of the text can be shown now; the beginning of a sequence waits for its end."""
        text = self._held + text
        self._held = ""
        if self._in_string:
            text = self._skip_string(text)
        if not self._in_string:
            text = self._hold_cut_end(text)
        return _TOKEN.sub(self._replace, text)

    def end(self) -> str:
        """Give what still waited: a line end, or nothing of a sequence that was never finished."""
        held, self._held, self._in_string = self._held, "", False
        return "\n" if held == "\r" else ""

    def _skip_string(self, text: str) -> str:
        end = _STRING_END.search(text)
        if end is None:
            self._held = "\x1b" if text.endswith("\x1b") else ""
            return ""
        self._in_string = False
        return text[end.end() :]

    def _hold_cut_end(self, text: str) -> str:
        if string := _CUT_STRING.search(text):
            self._in_string = True
            self._held = string[1]
            return text[: string.start()]
        if cut := _CUT.search(text):
            self._held = cut[0]
            return text[: cut.start()]
        return text

    def _replace(self, token: re.Match[str]) -> str:
        match token.lastgroup:
            case "colour":
                return token[0] if self._colours else ""
            case "line":
                return "\n"
            case "control":
                return _picture(token[0])
            case "hidden":
                return "\N{REPLACEMENT CHARACTER}"
        return ""


def clean(text: str, *, colours: bool = True) -> str:
    """Clean a whole text."""
    cleaner = Cleaner(colours=colours)
    return cleaner.feed(text) + cleaner.end()


def one_line(text: str) -> str:
    """Give a text as one line without colours; line ends and tabs become spaces."""
    return re.sub(r"[\n\t\u2028\u2029 ]+", " ", clean(text, colours=False)).strip()


def _picture(control: str) -> str:
    return "\N{SYMBOL FOR DELETE}" if control == "\x7f" else chr(0x2400 + ord(control))
