"""How fast an engine is, and whether to believe it.

harness/          what pytest-benchmark runs, in a process of its own
pytest_benchmark  starts it and reads its JSON
results           its measurements as figures of benchmark.json
trtexec           NVIDIA's own tool, beside ours; `trtexec_tool` finds and runs it
validity          what the machine did against the target's row: when a measurement is INVALID
"""
