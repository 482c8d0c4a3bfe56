"""Byte streams to hosts: one sibling for each transport, each with the same functions; who may speak is for `guard`.

`bind` opens a listening socket, `inherited.adopt` takes one over, `tune` sets what an accepted socket needs, and
`peer_facts` says who is at the other end. These import no event loop, so that the daemon listens before it loads the
rest of itself; `listener`, `link` and `stdio` do.
"""
