"""The image of a release, without a daemon: one layer on a base, an OCI layout, a push.

oci        the documents of the OCI image format, with bounds: what is read may be hostile
layer      the layer `/models`, the same bytes wherever it is made
reading    the files of that layer, taken out without trust in it
layout     a folder with images: release/images/, or one that was brought
describe   what an image says of itself: annotations and labels
compose    base and layer become an image
credentials, retry, skopeo, distribution, chart
           a registry: who we are to it, once more, images, what skopeo cannot do, the Helm chart
bases, base, base_build, foreign, sbom
           what images stand on: the file, one of them, how it is built, taken over, what is in it
"""
