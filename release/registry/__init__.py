"""MLflow: what is told of an engine that passed, and which one is the candidate.

submission    what MLflow is told about one engine; description: what people read of it there
portable      what a released engine needs where Jetrail is not installed
plots         the pictures of a run
address       what MLFLOW_TRACKING_URI may name, and what to write instead of others
uri           where MLflow is, and what of that may be shown
databases     a store without a server: its files in order, reached, laid out
sqlite        a store that is a file: whether it can be used, and whether it was moved
asked         which store is asked, for how long, and what an error calls it
surroundings  how MLflow is called, and its errors as the sentences of `trouble`
mlflow        run, model, version and alias, each made once; experiments: where they are; runs:
              which is a release's; logged: its model; saved: their files; view: the table of runs
policy        which passing engine is the candidate
"""
