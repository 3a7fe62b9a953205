"""What pytest-benchmark runs: the measurements of one engine, in a process of their own.

plan          what is to be measured, and for how long; `conftest` hands it to pytest
frames        the camera frames that are measured with
bench_engine  the measurements, as pytest's tests
timed         the pod's detector, with the time of inference in each call
patience      how long a measurement may wait for quiet
rounds        calls in windows, the quiet ones kept as rounds
soak          frames without a pause, as the device gets hot
"""
