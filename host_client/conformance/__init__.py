"""Does a daemon keep the contract? Conversations are replayed against a live one, and what it says is compared.

    from host_client.conformance import run

    report = run("unix:/run/taskd/taskd.sock")
    print(report)

The conversations are plain files, `spec/transcripts/*.jsonl` in the sources and packaged beside this file when
installed; their format stands in `spec/transcripts/README.md`, so that other programs can replay them too. The daemon
needs the built-in agent, `shell`, and must be driven by nobody else meanwhile. Tasks named `conformance-…` stay behind,
stopped.

It must not know the daemon's rooms: only what is on the wire counts.
"""

from host_client.conformance.report import Outcome, Report, Verdict
from host_client.conformance.runner import run
from host_client.conformance.transcript import Transcript, TranscriptError, load

__all__ = ["Outcome", "Report", "Transcript", "TranscriptError", "Verdict", "load", "run"]
