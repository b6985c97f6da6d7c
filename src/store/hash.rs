//! Hashes of participants and keys, keyed with a secret of the store: what outlives a person says nothing about them.

use crate::model::event::{Event, Source};
use crate::model::id::EventId;

/// Where a participant's key is remembered: so many bytes of the participant, the rest of the key.
pub type Place = [u8; 21];

/// The participant's part of a [`Place`].
pub const PARTICIPANT_BYTES: usize = 14;

/// Whose turn it is: the workspace's number, and the participant's part of a [`Place`].
pub type Participant = [u8; 2 + PARTICIPANT_BYTES];

/// The participant that is remembered at `place`, in the workspace with this number.
pub fn participant(workspace: u16, place: &Place) -> Participant {
    let mut participant = Participant::default();
    let (number, person) = participant.split_at_mut(2);
    number.copy_from_slice(&workspace.to_be_bytes());
    person.copy_from_slice(&place[..PARTICIPANT_BYTES]);
    participant
}

/// Where all that is remembered of a participant begins, by [`Hasher::shown`]. Nobody's place, of a text that is none.
pub fn person(shown: &str) -> Place {
    let mut place = Place::default();
    for (number, byte) in place[..PARTICIPANT_BYTES].iter_mut().enumerate() {
        let digits = shown.get(2 * number..2 * number + 2);
        *byte = digits
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .unwrap_or_default();
    }
    place
}

/// Makes places. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Hasher {
    secret: [u8; 32],
}

impl Hasher {
    /// With this secret.
    pub fn new(secret: [u8; 32]) -> Hasher {
        Hasher { secret }
    }

    /// The secret: whoever is to find what this store remembers needs it.
    pub fn secret(&self) -> [u8; 32] {
        self.secret
    }

    fn hash(&self, domain: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(domain);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    fn participant(&self, email: &str) -> [u8; PARTICIPANT_BYTES] {
        let hash = self.hash(b"participant", &[email.as_bytes()]);
        let mut participant = [0; PARTICIPANT_BYTES];
        participant.copy_from_slice(&hash[..PARTICIPANT_BYTES]);
        participant
    }

    /// A participant as operators see one: the participant's part of every place, in hexadecimal.
    pub fn shown(&self, email: &str) -> String {
        let digit = |byte: &u8| format!("{byte:02x}");
        self.participant(email).iter().map(digit).collect()
    }

    fn place(&self, event: &Event, key: [u8; 32]) -> Place {
        // A participant is a person in one workspace; a scope belongs to one workspace, so that keys with the scope in
        // them need not name it, and an event keeps its place when its activation is configured later.
        let mut place = Place::default();
        place[..PARTICIPANT_BYTES].copy_from_slice(&self.participant(event.participant()));
        let rest = &mut place[PARTICIPANT_BYTES..];
        rest.copy_from_slice(&key[..rest.len()]);
        place
    }

    /// Where an event is remembered: (source, scope, participant, key).
    pub fn event(&self, event: &Event) -> Place {
        self.place(
            event,
            self.hash(
                b"event",
                &[source(event), event.scope.as_bytes(), event.key.as_bytes()],
            ),
        )
    }

    /// Where a job that may exist once per participant is remembered.
    pub fn once(&self, event: &Event, once: &str) -> Place {
        self.place(event, self.hash(b"once", &[once.as_bytes()]))
    }

    /// Where the address of this participant is remembered. Not in the range of all else that is: who
    /// has no address is told from who has by the filters of the runs alone.
    pub fn address(&self, participant: &Participant) -> Place {
        let hash = self.hash(b"address", &[participant]);
        let mut place = Place::default();
        for (place, byte) in place.iter_mut().zip(hash) {
            *place = byte;
        }
        place
    }

    /// A number that another store would not derive from the same id.
    pub fn number(&self, id: EventId) -> u64 {
        let hash = self.hash(b"number", &[&id.0]);
        u64::from_le_bytes(hash[..8].try_into().unwrap_or_default())
    }

    /// A short hash of a source and scope, to tell a participant's activations apart.
    pub fn scope(&self, event: &Event) -> [u8; 4] {
        let hash = self.hash(b"scope", &[source(event), event.scope.as_bytes()]);
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

fn source(event: &Event) -> &'static [u8] {
    match event.source {
        Source::Quikly => b"q",
        Source::Outgrow => b"o",
        Source::Braze => b"b",
        Source::Operator => b"w",
    }
}
