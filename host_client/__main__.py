"""`python -m host_client`, and the console script `taskctl`."""

import sys


def main() -> int:
    """Run the command line; give the exit code."""
    try:
        from host_client.cli.app import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print("taskctl needs click: pip install 'taskd[host]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
