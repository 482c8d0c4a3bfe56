"""Floor 1, tongues to the children: bytes of an agent's protocol to neutral structs and back. No I/O."""
