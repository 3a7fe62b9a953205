"""Moves: a release goes to a ring, or back from it, or to no ring any more; one commit each.

place       a ring of one model and target, and what runs there by git
earlier     what a ring ran before, as a rollback sees it
move        what is moved, from where, on what evidence, and the commit's message
carry_out   the commit, made and pushed until it is there or somebody else moved the ring
aliases     MLflow's aliases, which follow
"""
