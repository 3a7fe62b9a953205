"""Whether this machine is a device of a target, what it lacks, and a record of it.

recognition   is this the target's device, and of which targets is it one
installing    how a backend's package comes onto a device
trial         can a package that is installed be used too
diagnosis     what it is, can build and measure, and what is missing
turn          one build or measurement at a time on it
record        its files and tool outputs, for tests
"""
