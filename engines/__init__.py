"""What an engine is, how it is built, loaded, run and measured: the ground floor of Jetrail.

    config, records   what people write, and the JSON files between the steps
    device            which machine this is
    backends          one file a backend: build an engine, load it, run it
    manifest          the checks before an engine is deserialised
    detector          camera frame in, boxes out: what benchmark, evaluate and the pod all run
    measure           times and the state of the machine while they were taken
    targets/          not code: a folder of data for each kind of device

Nothing here imports `pipeline`, `release` or `runtime`.
"""
