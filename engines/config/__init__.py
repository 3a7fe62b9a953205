"""What people write, read strictly.

workspace   where things are in a Jetrail repository
model       models/<model>/model.yaml
target      engines/targets/<target>/params.yaml: a target's row of data
steady      refuses what changes while a step goes by it
default     params.yaml: the target of commands that are not told one
rings       release/rings.yaml: the rings of clusters, in order
site        site.yaml: what the pods of one site look at
names, yaml what all of them share: the grammar of names, and reading a file

An unknown key, a missing one or a value out of range is an InputError that names file and key.
"""
