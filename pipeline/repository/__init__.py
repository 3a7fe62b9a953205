"""The user's repository: git, DVC, and edits that keep what people wrote.

git         the commit that the code is at
dvc         files put under DVC's control
yaml_edit   edits of YAML files that people keep
fleet       the folders of release/fleet that a new model or target needs
"""
