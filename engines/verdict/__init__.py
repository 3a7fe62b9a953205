"""Where an engine is judged, and whether a verdict still counts.

evidence   what was measured on one engine, read together and refused unless it is of one engine
judge      the evidence against the budgets of its target: a pure function
judged     a verdict with its evidence, refused when either was changed since

A pod runs what was judged and imports none of this.
"""
