//! Which calls travel together: the next request, as full as their order allows.
//!
//! Invariants: pure. A call is never split. Calls travel only in company that all of them may have; of two calls for one
//! address the later never goes before the earlier.

use std::collections::HashSet;

use super::body::{TrackBody, has_attributes_object, json_bytes};
use super::status::PHONES_MAX;
use crate::model::call::{Address, Call, Company};
use crate::model::lane::LaneKind;

/// The largest body we make for `/users/track`, in bytes. Braze says 4 MB and does not say which: a margin.
pub const BODY_BYTES_MAX: usize = 3_900_000;

/// How many objects one request of a lane may carry, where a write of profiles may carry `tracked`.
pub const fn objects_max(lane: LaneKind, tracked: usize) -> usize {
    match lane {
        LaneKind::UsersTrack => tracked,
        LaneKind::Default | LaneKind::SubscriptionStatusSet => PHONES_MAX,
        LaneKind::UsersExportIds | LaneKind::UsersDelete | LaneKind::Quikly | LaneKind::Held => 1,
    }
}

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

/// The next request, as positions in `calls`: the first call, and what may go with it, at most `objects_max` objects and
/// `bytes_max` bytes. A single call over a maximum goes alone. What stands behind a call that found no room waits for the
/// request after: nobody is overtaken by who may go in the same one.
pub fn first<'a>(
    calls: impl IntoIterator<Item = (&'a Call, Company)>,
    objects_max: usize,
    bytes_max: usize,
) -> Vec<usize> {
    let mut calls = calls.into_iter().enumerate();
    let Some((_, (of, company))) = calls.next() else {
        return Vec::new();
    };
    let mut going = vec![0];
    if !may_share(of, of) {
        return going;
    }
    let (mut room, mut bytes) = (objects_max.saturating_sub(room(of)), bytes(of));
    let mut left_behind = HashSet::new();
    for (position, (call, its)) in calls {
        if going.len() >= company.calls_max() || room == 0 {
            break;
        }
        let overtakes = address(call).is_some_and(|address| left_behind.contains(address));
        if its != company || !may_share(of, call) || overtakes {
            left_behind.extend(address(call));
            continue;
        }
        bytes += self::bytes(call);
        let Some(left) = room.checked_sub(self::room(call)) else {
            break;
        };
        if bytes > bytes_max {
            break;
        }
        room = left;
        going.push(position);
    }
    going
}

/// What a call takes of the objects a request may carry. One without objects takes a place all the same, so that requests
/// stay bounded.
pub fn room(call: &Call) -> usize {
    objects(call).max(1)
}

/// Whose order must be kept.
fn address(call: &Call) -> Option<&Address> {
    match call {
        Call::Track(track) => Some(&track.address),
        _ => None,
    }
}

/// What a call adds to the body, brackets of its own included: writes are counted, the rest is bounded by its number.
fn bytes(call: &Call) -> usize {
    match call {
        Call::Track(track) => json_bytes(&TrackBody::new(&[track]).0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::Company::{Alone, Any, AtMost, WithoutEvents};
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

    /// All requests, one after another.
    fn packed(calls: &[(Call, Company)], objects_max: usize, bytes_max: usize) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = (0..calls.len()).collect();
        let mut requests = Vec::new();
        while !left.is_empty() {
            let waiting = left.iter().map(|place| (&calls[*place].0, calls[*place].1));
            let going = first(waiting, objects_max, bytes_max);
            assert_eq!(going.first(), Some(&0), "whoever is first goes");
            requests.push(going.iter().map(|position| left[*position]).collect());
            for position in going.iter().rev() {
                left.remove(*position);
            }
        }
        requests
    }

    fn check(calls: &[(Call, Company)], objects_max: usize, expected: &[&[usize]]) {
        let requests = packed(calls, objects_max, BODY_BYTES_MAX);
        assert_eq!(requests, expected, "{calls:?}");
    }

    fn bare(address: &str, company: Company) -> (Call, Company) {
        (track(address, true, 0, 0), company)
    }

    #[test]
    fn seventy_five_objects_fill_a_request_whatever_array_they_stand_in() {
        let calls: Vec<_> = (0..100)
            .map(|n| (track(&n.to_string(), true, 0, 2), Any))
            .collect();
        let requests = packed(&calls, 75, BODY_BYTES_MAX);
        assert_eq!(
            requests.iter().map(Vec::len).collect::<Vec<_>>(),
            [25, 25, 25, 25]
        );
    }

    #[test]
    fn a_call_is_never_split_and_one_that_is_too_large_travels_by_itself() {
        let calls = [
            bare("a", Any),
            (track("b", true, 0, 99), Any),
            bare("c", Any),
        ];
        check(&calls, 75, &[&[0], &[1], &[2]]);
        let large = track("b", true, BODY_BYTES_MAX, 0);
        let calls = [bare("a", Any), (large, Any), bare("c", Any)];
        check(&calls, 75, &[&[0], &[1], &[2]]);
    }

    #[test]
    fn calls_travel_only_in_company_that_all_of_them_may_have() {
        let calls = [
            bare("a", Any),
            bare("b", Alone),
            (look_up(), Any),
            bare("c", AtMost(2)),
            bare("d", Any),
            bare("e", WithoutEvents(2)),
            bare("f", AtMost(2)),
            bare("g", AtMost(3)),
            bare("h", AtMost(2)),
            bare("i", WithoutEvents(2)),
            bare("j", Alone),
        ];
        let expected: &[&[usize]] = &[&[0, 4], &[1], &[2], &[3, 6], &[5, 9], &[7], &[8], &[10]];
        check(&calls, 75, expected);
    }

    #[test]
    fn an_update_never_overtakes_one_of_the_same_profile_that_travels_in_other_company() {
        for other in [Alone, AtMost(9)] {
            let update = |company| (track("a", false, 1, 0), company);
            let calls = [update(Any), update(other), update(Any), bare("b", Any)];
            check(&calls, 75, &[&[0, 3], &[1], &[2]]);
        }
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
        let reads = [read("a"), read("b"), read("a"), read("b"), read("a")].map(|call| (call, Any));
        check(&reads, 2, &[&[0, 2], &[1, 3], &[4]]);
        let sets = [
            set("a", false),
            set("a", true),
            set("b", false),
            set("a", false),
        ];
        check(&sets.map(|call| (call, Any)), 50, &[&[0, 3], &[1], &[2]]);
        check(&[(read("a"), Alone), (read("a"), Any)], 50, &[&[0], &[1]]);
    }

    fn any_call() -> impl Strategy<Value = (Call, Company)> {
        let tracks = ("[a-d]", any::<bool>(), 0..400usize, 0..6usize)
            .prop_map(|(address, create, bytes, events)| track(&address, create, bytes, events));
        (
            prop_oneof![9 => tracks, 1 => Just(look_up())],
            prop_oneof![
                6 => Just(Any),
                1 => Just(Alone),
                2 => (2..4u8).prop_map(AtMost),
                1 => (1..4u8).prop_map(WithoutEvents),
            ],
        )
    }

    proptest! {
        #[test]
        fn requests_hold_every_call_once_within_bounds_in_order_and_are_full(
            calls in prop::collection::vec(any_call(), 0..60),
            objects_max in 1..12usize,
            bytes_max in 200..2000usize,
        ) {
            let requests = packed(&calls, objects_max, bytes_max);

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
                    let company = calls[request[0]].1;
                    prop_assert!(request.iter().all(|position| calls[*position].1 == company));
                    prop_assert!(request.len() <= company.calls_max());
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
            let calls: Vec<_> = sizes.iter().map(|events| (track("a", false, 0, *events), Any)).collect();
            let mut fewest = vec![0; sizes.len() + 1];
            for end in 1..=sizes.len() {
                fewest[end] = (0..end)
                    .filter(|start| sizes[*start..end].iter().sum::<usize>() <= 10)
                    .map(|start| fewest[start] + 1)
                    .min()
                    .unwrap_or(usize::MAX);
            }
            prop_assert_eq!(packed(&calls, 10, BODY_BYTES_MAX).len(), fewest[sizes.len()]);
        }
    }
}
