"""Who says that a release may run: keys, the signed statement, and its check.

keys         key pairs: a private key in a file, the record of its public half in release/trust/keys
signer       what signs: a key in a file, on a PKCS#11 token or at a cloud
statement    what is said of a release, and the envelope around it
claims       what is said of its image: provenance, verdict, SBOM
cosign       the image's signature and those claims, in both of cosign's formats
beside       how they get into a registry, beside the image
"""
