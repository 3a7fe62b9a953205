"""A release's image, run on this machine as a cluster would run it.

tool         podman or docker, whichever is here
taken        an image of a layout, in its storage for as long as it is needed
container    one command in it, which may do nothing but its work
verdict      what the command said against what was published
record       smoke.json: the result, as git keeps it
wanted       whether a release can be smoked here, and was
"""
