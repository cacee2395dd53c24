"""The tests with a peer in TypeScript."""
