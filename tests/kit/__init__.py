"""What several tests use: fakes, a mock model, real agents in a home of their own. No tests are here."""
