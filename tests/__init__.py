"""The tests of taskd, by what they need: `make test` runs those that need nothing."""
