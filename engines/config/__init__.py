"""What people write, read strictly.

workspace   where things are in a Jetrail repository
model       models/<model>/model.yaml
target      engines/targets/<target>/params.yaml: a target's row of data
names, yaml what the two share: the grammar of names, and reading a file

An unknown key, a missing one or a value out of range is an InputError that names file and key.
"""
