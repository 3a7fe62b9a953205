"""Who says that a release may run: keys, the signed statement, and its check."""
