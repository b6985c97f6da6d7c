//! What only the real binary can show, with the sandbox in a process of its own: kills, stops, refusals, memory, syncs.
//!
//! Under `cargo test` the long ones run at a tenth or less; `RELAY_FULL=1` runs them whole. `RELAY_SEED` replays the
//! seed that a run printed.

mod budget;
mod due;
mod forgotten;
mod held;
mod killed;
mod left_alone;
mod order;
mod phones;
mod refused;
mod reloaded;
mod replayed;
mod restarted;
mod stopped;
mod synced;
mod waiting;

/// Two activations, both credited: one repeats a credit whose outcome is unknown, one does not.
pub const ACTIVATIONS: &str = "[activations.resend]\nworkspace = \"acme\"\nflow = \"email\"\n\
     mark_attributes = { joined_resend = true }\n\
     credit = { event = \"joined\", on_unknown = \"resend\" }\n\
     [activations.park]\nworkspace = \"acme\"\nflow = \"email\"\n\
     mark_attributes = { joined_park = true }\n\
     credit = { event = \"joined\", on_unknown = \"park\" }\n";

/// Quikly's `max_in_flight` by default: so many credits can be unknown after one kill.
const CREDITS_IN_FLIGHT_MAX: u64 = 16;
