"""Floor 4, doors: transports, connections, settings, logs, and the one place where all is put together."""
