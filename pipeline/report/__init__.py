"""Verdicts for people and for other tools.

summary    out/summary/<engine>.json, for DVC's metrics and plots
junit      verdict.junit.xml, for GitLab
"""
