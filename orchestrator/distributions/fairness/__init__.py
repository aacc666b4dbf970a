"""Chance that anyone can check: committed entries, a seed nobody could choose, a ranking anyone can repeat.

Pure: SHA-256 and HMAC alone. Signing and verifying functions come as arguments. docs/fairness.md has every formula.
"""
