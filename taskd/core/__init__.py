"""Floor 1, decisions: one synchronous step from a stimulus to effects. No async, no clock, no os, no random."""
