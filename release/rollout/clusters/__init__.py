"""The clusters that Fleet knows: an inventory of them, and what selects among them.

words       the file's YAML, in one pass; `entry`: one map of it, of whose slips the place is said
inventory   all clusters, of a file that people write or of kubectl's
labels      label selectors, as Kubernetes has them
criteria    which clusters a target, a restriction or a partition is for
"""
