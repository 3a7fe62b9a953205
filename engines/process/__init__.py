"""Processes and who may run: work in a child, programs that end with us, one user of a device.

child     a Python function in a process of its own, whose end by a signal is told
orphans   a program that ends with the process that started it
stage     a command that DVC runs ends with DVC, and is refused where its code changed meanwhile
whole     work that Ctrl-C, SIGTERM and SIGHUP wait for
limited   a command whose memory is limited has a process beside it that says how it ended
git       in the repository of its folder, in English, and leaving no lock
lock      one build or measurement on a device at a time
garbage   Python's search for it waits
"""
