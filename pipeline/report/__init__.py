"""Verdicts for people and for other tools.

ran        what really ran, in words
older      which engine is of the weights of before
summary    out/summary/<engine>.json, for DVC's metrics and plots
told       reasons in words, every remedy once
junit      verdict.junit.xml, for GitLab
drawn      boxes drawn on a picture
again      how to measure again what is INVALID
"""
