"""How fast an engine is, and whether to believe it.

harness/          what pytest-benchmark runs, in a process of its own
pytest_benchmark  starts it and reads its JSON; `measurement`: what that holds, typed
attempts          measured, and again where the machine did what passes
results           its measurements as figures of benchmark.json; `record` puts them together
trtexec           NVIDIA's own tool, beside ours; `trtexec_tool` finds and runs it
validity          what the machine did against the target's row: when a measurement is INVALID
"""
