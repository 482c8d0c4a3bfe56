import subprocess
import sys

from tests.house.source import ROOT


def test_the_generated_contract_is_up_to_date():
    """`make spec` writes it again."""
    run = subprocess.run(
        [sys.executable, ROOT / "spec" / "generate.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode == 0, run.stdout + run.stderr
