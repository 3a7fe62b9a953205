"""The command `pipeline`: from a checkpoint to a verdict on each engine of a target.

cli        parses, calls one step, maps errors to exit codes
steps/     one module a step; steps never import each other and meet through files
adapters/  one module a heavy SDK, imported inside functions
records    verify.json and quantize.json, which no other package reads
"""
