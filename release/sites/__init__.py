"""Sites: a Fleet bundle for each, with the ConfigMap that makes the same pods that site's own.

folder      release/fleet/sites/<site>/: fleet.yaml and configmap.yaml, written once and checked
inventory   many sites as a table
"""
