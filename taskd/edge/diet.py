"""Imports that the daemon does without: OpenSSL under asyncio, anyio and hashlib, and structlog's pretty tracebacks.

The daemon speaks no TLS, yet asyncio and anyio load it: 4.4 MiB of resident memory and a tenth of the start. hashlib
loads libcrypto for digests that CPython has built in: 3.5 MiB. structlog's console renderer loads `rich` where a host
tool has installed it: 6 MiB and a quarter of the start. (Measured with Python 3.11, anyio 4.16, structlog 26.1.) The
figures of a guest count, so these are held back while the libraries are imported, and are to be had as usual
afterwards. Where a library wants more than the stand-in has, it is imported in the ordinary way.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def import_lean() -> None:
    """Import asyncio, anyio, structlog and hashlib without what the daemon never uses. Safe to call again."""
    try:
        with _held_back(ssl=None):
            import asyncio  # noqa: F401
        with _held_back(ssl=_no_tls()):
            import anyio._backends._asyncio  # noqa: F401
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] in ("asyncio", "anyio")]:
            del sys.modules[name]
    with _held_back(rich=None, better_exceptions=None):
        import structlog  # noqa: F401
    with _held_back(_hashlib=None):
        import hmac  # noqa: F401


def _no_tls() -> ModuleType:
    """A module that names the class which anyio's signatures mention."""
    module = ModuleType("ssl")
    module.SSLContext = type("SSLContext", (), {})  # type: ignore[attr-defined]
    return module


@contextmanager
def _held_back(**stand_ins: ModuleType | None) -> Iterator[None]:
    """Let imports find these instead; modules that are loaded already stay as they are."""
    used = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(used)  # type: ignore[arg-type]  # None is the documented way to make an import fail
    try:
        yield
    finally:
        for name in used:
            del sys.modules[name]
