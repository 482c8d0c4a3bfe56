"""Start of the fake pi; see the package for its directives.

It is run by its path, so that a launch line needs no import path.
"""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    importlib.import_module("kit.fake_pi.agent").main(sys.argv[1:])
