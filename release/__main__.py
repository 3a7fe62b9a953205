"""`release`, and `python -m release`."""

try:
    from engines.entry import begin
except KeyboardInterrupt:  # Ctrl-C this early
    raise SystemExit(130) from None


def main() -> None:
    """Run the command line."""
    begin("release.cli")


if __name__ == "__main__":
    main()
