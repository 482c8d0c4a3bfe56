"""A guest-side supervisor daemon for coding agents."""

__version__ = "0.1.0"
