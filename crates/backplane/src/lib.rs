//! What joins nodes and holds history
