"""What pytest-benchmark runs: the measurements of one engine, in a process of their own."""
