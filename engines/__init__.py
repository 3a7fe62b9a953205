"""What an engine is, how it is built, loaded, run and measured: the ground floor of Jetrail.

    errors, disks, files exit codes, what is wrong with a disk, atomic files
    entry, cli           where every command begins, an app that starts fast
    completion           what a shell completes: the names that a clone has
    streams              stdout and stderr, also where nobody reads them any more
    records/             what is written down: the JSON files between the steps
    extras               which extra brings what is not installed here
    surroundings         what a machine lacks, in a sentence: a package, room on a disk, memory
    packages             the packages that backends run on: one table
    process/             child processes, orphans, and the lock of the device
    machine/             which machine this is, and what it says while it works
    backends/            a folder a backend: build an engine, check it, load it, run it
    detect/              camera frame in, boxes out: all that a pod imports
    measure/             times, and what the machine did while they were taken
    verdict/             an engine judged by its evidence, and whether a verdict still counts
    config/              what people write: models, targets, and where things are
    targets/             not code: a folder of data for each kind of device

Nothing here imports `pipeline`, `release` or `runtime`.
"""
