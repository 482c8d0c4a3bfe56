"""Floor 1, tongues to the host: bytes to neutral calls and back. No I/O."""
