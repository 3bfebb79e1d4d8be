"""The rulebook that ships: TOML files in order of name, each rule with its why, notices and tests."""
