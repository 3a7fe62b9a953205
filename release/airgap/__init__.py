"""A site without a network: all that it runs, in one file for a USB stick.

gather      what Fleet would bring to the site, from this clone
content     the files that this makes
archive     the file: written the same way each time, read without belief
"""
