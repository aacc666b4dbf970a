"""Grants as tokens: signed when read, validated offline by anybody with the public keys, and online by asking the stream.

`keys` (what signs and verifies), `keystore` (where keys are kept), `signed` (the form of every token), `tokens` (issue),
`validation` (offline), `status` (online), `jwks` (what is published), `settings`; `tickets` are the numbers of queues as
tokens, by the same keys. The log holds a grant's id and its end; a token never enters it.
"""
