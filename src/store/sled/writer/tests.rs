//! What becomes of a gathering: batches that sled can write, behind one sync.

#![expect(clippy::unwrap_used, reason = "tests may")]

use tokio::sync::oneshot;

use super::super::mend::tests::at;
use super::*;
use crate::store::{Paper, Papers};

/// That a paper of 1,000 characters is put there, and where the answer comes.
fn put(number: usize) -> (Request, oneshot::Receiver<Result<(), StoreError>>) {
    let (reply, answer) = oneshot::channel();
    let put = vec![Paper::new(format!("note/{number}"), "x".repeat(1_000)).unwrap()];
    let papers = Papers {
        put,
        ..Papers::default()
    };
    (Request::PutPapers { papers, reply }, answer)
}

/// With all of it in one batch sled's threads may all come to wait for one lock, for ever.
#[test]
fn a_large_gathering_is_parted_between_its_requests() {
    let folder = tempfile::tempdir().unwrap();
    let mut base = Base::open(&at(folder.path()), Settings::default(), None).unwrap();
    for (requests, batches) in [(100, 1), (800, 4)] {
        let before = base.head.commit;
        let (mut asked, answers): (Vec<_>, Vec<_>) = (0..requests).map(put).unzip();
        let _ = serve(&mut base, &Shared::default(), &mut asked).unwrap();
        assert_eq!(base.head.commit - before, batches, "{requests}");
        for mut answer in answers {
            answer.try_recv().unwrap().unwrap();
        }
    }
}

#[test]
fn a_batch_is_in_the_file_before_the_next_also_where_it_need_not_be_durable() {
    let folder = tempfile::tempdir().unwrap();
    let mut base = Base::open(&at(folder.path()), Settings::default(), None).unwrap();
    for number in 0..20_u8 {
        let key = [b'~', number];
        let mut draft = Draft::default();
        draft.insert(&key, &key);
        base.apply(draft, false).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(folder.path().join("sled")).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
            }
        }
        let copied = ::sled::open(copy.path()).unwrap();
        assert!(copied.contains_key(key).unwrap(), "{number}");
    }
}
