"""MLflow: what is told of an engine that passed, and which one is the candidate.

submission    what MLflow is told about one engine
portable      what a released engine needs where Jetrail is not installed
plots         the pictures of a run
mlflow        run, model, version and alias, each made once
policy        which passing engine is the candidate
"""
