"""The command `release`: from engines that pass to the image tags that Fleet rolls out.

cli          parses, calls one step, maps errors to exit codes
steps/       publish (MLflow), write (fleet.yaml) and status; steps never import each other
adapters/    mlflow, plots, fleet (fleet.yaml) and yaml_text, which puts one value into YAML text
pyfunc       what MLflow calls to load a released engine
measured     an engine with the numbers that were measured on it, and on no other
policy       which passing engine is the candidate
publication  what MLflow is told about one engine
portable     what a released engine needs where Jetrail is not installed
lineage      hashes by which DVC knows files and data sets
tags         the grammar of image tags
records      release/records/<tag>.json and release/published/<target>.json
lock         one command at a time
"""
