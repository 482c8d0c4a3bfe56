"""The latency harness: what a host sees of a daemon, next to a floor that is measured in the same run.

It drives any daemon at an address, in either dialect, and starts one of its own when no address is given. `scenes` say
what is measured, `bars` what is to be reached, `report` what was found; `table`, `page` and `compare` show it.

Rules: the measuring client blocks and does next to nothing; the floor answers the same lines to the same client over
the same kind of socket; what cannot be measured is named with its reason and never left out silently.
"""
