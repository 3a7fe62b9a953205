"""A release's image, run on this machine as a cluster would run it.

container    podman: an image of a layout, and one command in it
verdict      what the command said against what was published
record       smoke.json: the result, as git keeps it
wanted       whether a release can be smoked here, and was
"""
