"""New ids, from the guest's own entropy and whatever hosts gave.

A guest that was cloned from a snapshot has the same random numbers as its twin (measured: the same os.urandom output
after every restore), so the nonce of every `initialize` is mixed into what is minted after it.
"""

import hashlib
import os

from taskd.model.ids import mint


class Minter:
    """A source of ids."""

    def __init__(self) -> None:
        self._pool = os.urandom(32)

    def mix(self, nonce: str) -> None:
        """Stir a host's entropy in."""
        self._pool = hashlib.sha256(self._pool + nonce.encode("utf-8", "surrogatepass")).digest()

    def mint(self, prefix: str) -> str:
        """Make an id such as `turn_9f86d081884c7d65`."""
        self._pool = hashlib.sha256(self._pool + os.urandom(16)).digest()
        return mint(prefix, self._pool)
