//! Tests of the runtime around a scripted replica.
