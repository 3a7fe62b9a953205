"""What Fleet rolls out: release.yaml, the release of one model on one target in one ring."""
