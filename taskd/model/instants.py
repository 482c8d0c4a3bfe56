"""Moments in time as text. The clock itself is never read here."""

from datetime import UTC, datetime


def rfc3339(epoch_seconds: float) -> str:
    """Give a wall clock time as `2026-11-21T01:02:03.456Z`."""
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
