"""A sync played by Fleet's rules before it happens; pure, but for `plot` and `page`, which draw.

partitions   limits, and which clusters stand in which partition
reconcile    one reconcile of a bundle, incrementally
agent        what a cluster does when it is told to change, and says when
play         reconciles and reports in turn, until nothing moves
outcome      what became of each cluster, and who holds it
sync         all bundles that a sync changes, each played
result       that, and what it was played with; series: how many clusters are in which state
table, plot, page    the same for a terminal, as PNG and as one HTML file
"""
