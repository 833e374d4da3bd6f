//! The load tool against servers that behave, and against one that does not: what it measures, it must also check.

mod dialects;
mod fanout;
mod faulty;
mod output;
mod scenarios;
mod servers;
