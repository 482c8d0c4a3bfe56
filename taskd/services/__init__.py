"""Floor 3, performers: they carry out what the core wants, over anyio, and decide nothing."""
