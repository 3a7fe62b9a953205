"""What each cluster gets of a bundle.

options               a bundle's options with a target's laid over them, and the id of the result
template_functions    functions of templates
go_template           Go's text/template
cluster_values        labels and templates filled in
placement             which clusters, with which options
"""
