"""Sessions by URL: `connect`, `serve`, `spawn`."""
