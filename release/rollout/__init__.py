"""What Fleet rolls out, read and played by Fleet's own rules.

release_yaml  release.yaml, the release of one model on one target in one ring
fleet_yaml    fleet.yaml beside it, as far as a command must know it
clusters/     an inventory, label selectors, criteria of targets and partitions
reading/      fleet.yaml and gitrepo.yaml as Fleet reads them, by its version
targets/      which clusters get a bundle, with which values
simulation/   a sync played before it happens
lint/         what Fleet would do wrong, and a cluster refuse
"""
