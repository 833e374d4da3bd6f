//! Sans-IO state machines: outbox, rooms, history, hand-over
