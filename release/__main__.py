"""`release`, and `python -m release`."""

import os

try:
    from engines.entry import begin
except KeyboardInterrupt:  # Ctrl-C this early
    raise SystemExit(130) from None


def main() -> None:
    """Run the command line.

    Nothing here multiplies matrices, so OpenBLAS, which NumPy loads, begins no threads: where it
    can have none (a limit on pids) it ends the process as Ctrl-C would, and each takes memory.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    begin("release.cli")


if __name__ == "__main__":
    main()
