"""The pure vocabulary: addresses, commands, events, deciders, keys. No I/O, no clock, no randomness."""
