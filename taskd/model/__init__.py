"""Floor 0, nouns: ids, states, errors, limits, records, the API and its events. Nothing here decides."""
