//! SSE encoding, event ids, cursors, topics, selectors and limits
