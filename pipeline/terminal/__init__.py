"""What people see when a step is done: tables that fit a terminal of 80 columns.

tables       tables and lines of which nothing is cut or broken
added        what `add-model` and `add-target` print
models       what `list`, `update-model` and `remove-model` do
predicted    `predict`
verdicts     `gate` and `report`
diagnosis    `doctor`
"""
