"""The triggers: parse what came in, call the engine, answer. No decision is taken here."""
