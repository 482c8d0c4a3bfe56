"""Floor 1, careful hands: durable writes, opens beneath a root, locks. Blocking calls, no async."""
