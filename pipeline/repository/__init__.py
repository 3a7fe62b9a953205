"""The user's repository: git, DVC, and edits that keep what people wrote."""
