"""The user's repository: git, DVC, and edits that keep what people wrote.

git         the commit that the code is at
dvc         files put under DVC's control
yaml_text   edits of YAML files that people keep, in which the rest stays byte for byte
yaml_edit   edits that need comments of ours beside values
entries     where a model is named beside its own folder: added, and removed without a trace
listing     which models there are, with their engines and rings
fleet       the folders of release/fleet that a new model or target needs
kept        whether git or DVC keeps a model's weights and data, and what a kill left unfinished
lock        one command at a time that changes which models there are
"""
