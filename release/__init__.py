"""The command `release`: from engines that pass to the image tags that Fleet rolls out.

cli          parses, calls one step, maps errors to exit codes
terminal     what people see
steps/       publish, write and status; steps never import each other
registry/    MLflow: publication, lineage, policy
rollout/     fleet.yaml
measured     an engine with the numbers that were measured on it, and on no other
tags         the grammar of image tags
records      release/records/<tag>.json and release/published/<target>.json
lock         one command at a time
"""
