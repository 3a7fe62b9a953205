"""What Rancher Fleet reads: fleet.yaml."""
