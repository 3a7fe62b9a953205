"""Whether this machine is a device of a target, what it lacks, and a record of it.

recognition  is this the device of a target, and of which ones is it
installing   how a package comes onto a device
"""
