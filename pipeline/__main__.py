"""`pipeline`, and `python -m pipeline`."""

try:
    from engines.entry import begin
except KeyboardInterrupt:  # Ctrl-C this early
    raise SystemExit(130) from None


def main() -> None:
    """Run the command line."""
    begin("pipeline.cli")


if __name__ == "__main__":
    main()
