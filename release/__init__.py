"""The command `release`: from engines that pass to the image tags that Fleet rolls out.

cli        parses, calls one step, maps errors to exit codes
steps/     publish (MLflow) and write (fleet.yaml)
adapters/  MLflow and YAML, each in one module
tags       the grammar of image tags
records    release/records/<tag>.json
"""
