"""The image of a release, without a daemon: one layer on a base, an OCI layout, a push."""
