"""Reports from the sites: what clusters run by Fleet's word, and by their pods' own.

report      Report: a deployment of a bundle on a cluster a row, versions that pods tell
fleet       what `kubectl get bundledeployments -A -o json` and `fleet monitor` print
metrics     the pods' `model_version`, as Prometheus answers or as text
load        a report from a file or an address, whichever of these it is
"""
