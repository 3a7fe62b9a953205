"""What Fleet makes of the files in git.

version    what a version of Fleet knows and does
text       YAML as Fleet reads it, with the line of every key
fields     the keys of fleet.yaml
decode     fleet.yaml less what Fleet drops
values     values laid over values
content    the files of a folder that are deployed
names      the name of a bundle
bundle     a folder as a bundle
gitrepo    which folders there are, and what all are told
tree       all bundles of a checkout
"""
