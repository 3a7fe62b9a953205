"""What Fleet accepts and then does wrong, and what a cluster would refuse.

finding     a rule, and one place where it is broken
checkout     what is looked at: bundles, clusters, records
files, targets, partitions, chart, pod, values, tags, sites    the rules, a module a subject
rules       the table of all rules
formats     findings as text, SARIF and GitLab's code quality
"""
