"""The host's end of taskd."""
