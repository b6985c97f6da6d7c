//! Which calls travel together: as few requests as their order allows.
//!
//! Invariants: pure. A call is never split; each travels in exactly one request. Of two calls for one address the
//! earlier never stands behind the later, within a request or across them.

use std::collections::HashSet;

use super::body::{TrackBody, has_attributes_object, json_bytes};
use crate::model::call::{Address, Call};

/// The largest body we make for `/users/track`, in bytes. Braze says 4 MB and does not say which: a margin.
pub const BODY_BYTES_MAX: usize = 3_900_000;

/// How many objects a call puts into a request.
pub fn objects(call: &Call) -> usize {
    match call {
        Call::Track(track) => usize::from(has_attributes_object(track)) + track.events.len(),
        _ => 1,
    }
}

/// Whether two calls of one lane may stand in the same request: writes of profiles; and what reads or sets the status of
/// one subscription group in one way.
pub fn may_share(one: &Call, other: &Call) -> bool {
    match (one, other) {
        (Call::Track(_), Call::Track(_)) => true,
        (Call::ReadStatus { group: one, .. }, Call::ReadStatus { group: other, .. }) => {
            one == other
        }
        (Call::SetStatus(one), Call::SetStatus(other)) => {
            (&one.group, one.double_opt_in) == (&other.group, other.double_opt_in)
        }
        _ => false,
    }
}

/// Divides `calls` (each with whether it must travel alone) into requests of at most `objects_max` objects and
/// `bytes_max` bytes, as positions in `calls`. A single call over a maximum has a request of its own. Requests are in the
/// order of their first call, the calls within them in the order given.
pub fn pack(calls: &[(&Call, bool)], objects_max: usize, bytes_max: usize) -> Vec<Vec<usize>> {
    let mut requests: Vec<Vec<usize>> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for (position, (call, alone)) in calls.iter().enumerate() {
        let kind = open.iter().position(|open| may_share(open.of, call));
        if *alone || !may_share(call, call) {
            requests.push(vec![position]);
            if let (Some(kind), Some(address)) = (kind, address(call)) {
                open[kind].overtaken.insert(address);
            }
            continue;
        }
        // A call without objects takes a place all the same, so that requests stay bounded.
        let objects = objects(call).max(1);
        let bytes = bytes(call);
        let fits = |open: &Open<'_>| {
            open.objects + objects <= objects_max
                && open.bytes + bytes <= bytes_max
                && address(call).is_none_or(|address| !open.overtaken.contains(address))
        };
        match kind {
            Some(kind) if fits(&open[kind]) => {
                let open = &mut open[kind];
                open.objects += objects;
                open.bytes += bytes;
                requests[open.request].push(position);
            }
            full => {
                let new = Open {
                    of: call,
                    request: requests.len(),
                    objects,
                    bytes,
                    overtaken: HashSet::new(),
                };
                match full {
                    Some(full) => open[full] = new,
                    None => open.push(new),
                }
                requests.push(vec![position]);
            }
        }
    }
    requests
}

/// Whose order must be kept.
fn address(call: &Call) -> Option<&Address> {
    match call {
        Call::Track(track) => Some(&track.address),
        _ => None,
    }
}

/// What a call adds to the body: writes are counted, the rest is bounded by its number.
fn bytes(call: &Call) -> usize {
    match call {
        Call::Track(track) => json_bytes(&TrackBody::new(&[track]).0),
        _ => 0,
    }
}

/// A request that still has room.
struct Open<'a> {
    /// One of its calls.
    of: &'a Call,
    request: usize,
    objects: usize,
    /// At least the size of the body: each call is counted with brackets of its own.
    bytes: usize,
    /// Addresses that have a call alone behind this request: their next call must stand behind that one.
    overtaken: HashSet<&'a Address>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::call::{SetStatus, Track, TrackEvent};
    use crate::model::json::Object;
    use crate::model::rules::OnUnknown;
    use crate::model::time::Timestamp;

    fn track(address: &str, create: bool, attribute_bytes: usize, events: usize) -> Call {
        let mut attributes = Object::new();
        if attribute_bytes > 0 {
            attributes.insert("a".into(), json!("x".repeat(attribute_bytes)));
        }
        Call::Track(Track {
            address: Address::ExternalId(address.into()),
            create,
            attributes,
            events: vec![
                TrackEvent {
                    name: "e".into(),
                    time: Timestamp::ZERO,
                    properties: None,
                };
                events
            ],
            subscribe: None,
            on_unknown: OnUnknown::Resend,
        })
    }

    fn look_up() -> Call {
        Call::LookUp {
            email: "a@example.com".into(),
            phone: false,
        }
    }

    fn packed(calls: &[(Call, bool)], objects_max: usize) -> Vec<Vec<usize>> {
        let calls: Vec<_> = calls.iter().map(|(call, alone)| (call, *alone)).collect();
        pack(&calls, objects_max, BODY_BYTES_MAX)
    }

    #[test]
    fn seventy_five_objects_fill_a_request_whatever_array_they_stand_in() {
        let calls: Vec<_> = (0..100)
            .map(|n| (track(&n.to_string(), true, 0, 2), false))
            .collect();
        let requests = packed(&calls, 75);
        assert_eq!(
            requests.iter().map(Vec::len).collect::<Vec<_>>(),
            [25, 25, 25, 25]
        );
    }

    #[test]
    fn a_call_is_never_split_and_one_that_is_too_large_travels_by_itself() {
        let calls = [
            (track("a", true, 0, 0), false),
            (track("b", true, 0, 99), false),
            (track("c", true, 0, 0), false),
        ];
        assert_eq!(packed(&calls, 75), [[0], [1], [2]]);
    }

    #[test]
    fn calls_alone_and_calls_of_other_kinds_do_not_break_up_a_request() {
        let calls = [
            (track("a", true, 0, 0), false),
            (track("b", true, 0, 0), true),
            (look_up(), false),
            (track("c", true, 0, 0), false),
        ];
        assert_eq!(packed(&calls, 75), [vec![0, 3], vec![1], vec![2]]);
    }

    #[test]
    fn an_update_never_overtakes_one_of_the_same_profile_that_travels_alone() {
        let calls = [
            (track("a", false, 1, 0), false),
            (track("a", false, 1, 0), true),
            (track("a", false, 1, 0), false),
        ];
        assert_eq!(packed(&calls, 75), [[0], [1], [2]]);
    }

    #[test]
    fn phones_share_a_request_with_their_own_group_and_way_only() {
        let read = |group: &str| Call::ReadStatus {
            group: group.into(),
            phone: "+15550001111".into(),
        };
        let set = |group: &str, double_opt_in| {
            Call::SetStatus(SetStatus {
                group: group.into(),
                phone: "+15550001111".into(),
                double_opt_in,
                on_unknown: OnUnknown::Resend,
            })
        };
        let reads =
            [read("a"), read("b"), read("a"), read("b"), read("a")].map(|call| (call, false));
        assert_eq!(packed(&reads, 2), [vec![0, 2], vec![1, 3], vec![4]]);
        let sets = [
            set("a", false),
            set("a", true),
            set("b", false),
            set("a", false),
        ];
        assert_eq!(
            packed(&sets.map(|call| (call, false)), 50),
            [vec![0, 3], vec![1], vec![2]]
        );
        assert_eq!(
            packed(&[(read("a"), true), (read("a"), false)], 50),
            [[0], [1]]
        );
    }

    fn any_call() -> impl Strategy<Value = (Call, bool)> {
        let tracks = ("[a-d]", any::<bool>(), 0..400usize, 0..6usize)
            .prop_map(|(address, create, bytes, events)| track(&address, create, bytes, events));
        (
            prop_oneof![9 => tracks, 1 => Just(look_up())],
            prop::bool::weighted(0.2),
        )
    }

    proptest! {
        #[test]
        fn requests_hold_every_call_once_within_bounds_in_order_and_are_full(
            calls in prop::collection::vec(any_call(), 0..60),
            objects_max in 1..12usize,
            bytes_max in 200..2000usize,
        ) {
            let given: Vec<_> = calls.iter().map(|(call, alone)| (call, *alone)).collect();
            let requests = pack(&given, objects_max, bytes_max);

            let mut seen: Vec<_> = requests.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..calls.len()).collect::<Vec<_>>());
            prop_assert!(requests.is_sorted_by_key(|request| request[0]));

            let mut place = vec![0; calls.len()];
            for (number, request) in requests.iter().enumerate() {
                prop_assert!(request.is_sorted());
                for position in request { place[*position] = number; }
                let tracks: Vec<_> = request.iter().filter_map(|position| match &calls[*position].0 {
                    Call::Track(track) => Some(track),
                    _ => None,
                }).collect();
                if request.len() > 1 {
                    prop_assert_eq!(tracks.len(), request.len());
                    prop_assert!(request.iter().all(|position| !calls[*position].1));
                    prop_assert!(request.iter().map(|p| objects(&calls[*p].0)).sum::<usize>() <= objects_max);
                    prop_assert!(json_bytes(&TrackBody::new(&tracks).0) <= bytes_max);
                }
            }

            let address = |position: usize| match &calls[position].0 {
                Call::Track(track) => Some(&track.address),
                _ => None,
            };
            for later in 0..calls.len() {
                for earlier in 0..later {
                    if address(earlier).is_some() && address(earlier) == address(later) {
                        prop_assert!(place[earlier] <= place[later]);
                    }
                }
            }
        }

        #[test]
        fn without_calls_alone_no_division_in_order_has_fewer_requests(
            sizes in prop::collection::vec(1..6usize, 1..60),
        ) {
            let calls: Vec<_> = sizes.iter().map(|events| (track("a", false, 0, *events), false)).collect();
            let mut fewest = vec![0; sizes.len() + 1];
            for end in 1..=sizes.len() {
                fewest[end] = (0..end)
                    .filter(|start| sizes[*start..end].iter().sum::<usize>() <= 10)
                    .map(|start| fewest[start] + 1)
                    .min()
                    .unwrap_or(usize::MAX);
            }
            prop_assert_eq!(packed(&calls, 10).len(), fewest[sizes.len()]);
        }
    }
}
