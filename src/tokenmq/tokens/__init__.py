"""Credentials as values: tokens, the keys that sign them, the keys that servers hold.

Pure: time and randomness are passed in, but for what the cryptographic library draws to
make a signing key or a signature. Storing, looking up and revoking are the services'.
"""
