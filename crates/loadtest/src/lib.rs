//! Load tool
