//! Out of one store and into another, and a store made small.

use super::*;

#[tokio::test]
async fn what_is_exported_and_imported_is_there_again() {
    let (here, there) = (nowhere(), nowhere());
    let store = open(&here.store());
    fill(&store, 400).await;
    store.close().await.unwrap();
    let file = here.file("all.ndjson");
    let ran = run(&here, &["export", file.to_str().unwrap()]).ok();
    assert!(ran.said.contains("75 dead letters"), "{}", ran.said);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o077, 0, "others can read it");
    run(&there, &["import", file.to_str().unwrap()]).ok();
    let (before, after) = (open(&here.store()), open(&there.store()));
    assert_eq!(asked(&after).await, asked(&before).await);
    // Whoever took part is remembered.
    let again = after
        .append(vec![seed(3, "join")], second(3))
        .await
        .unwrap();
    assert!(again[0].duplicate);
}

#[tokio::test]
async fn nothing_is_written_over_and_nothing_half_stays() {
    let (here, there) = (nowhere(), nowhere());
    let store = open(&here.store());
    fill(&store, 200).await;
    store.close().await.unwrap();
    let file = here.file("all.ndjson");
    let name = file.to_str().unwrap();
    let none = run(&there, &["export", there.file("none").to_str().unwrap()]);
    assert_eq!(none.code, 3, "{}", none.said);
    assert!(!there.store().join("sled").exists() && !there.file("none").exists());
    run(&here, &["export", name]).ok();
    let again = run(&here, &["export", name]);
    assert_eq!(again.code, 2, "{}", again.said);
    let over = run(&here, &["import", name]);
    assert_eq!(over.code, 3, "{}", over.said);
    assert!(over.said.contains("there is a store already"));
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let cut = lines[..200].concat();
    let changed = text.replacen("p7@example.com", "q7@example.com", 1);
    for (name, text, says) in [
        ("cut", cut, "line 201: the file breaks off"),
        ("changed", changed, "was changed"),
    ] {
        let file = there.file(name);
        fs::write(&file, text).unwrap();
        let ran = run(&there, &["import", file.to_str().unwrap()]);
        assert_eq!(ran.code, 1, "{}", ran.said);
        assert!(ran.said.contains(says), "{}", ran.said);
        let left = there.store();
        assert!(!left.join("sled").exists() && !left.join("mark").exists());
    }
    let done = run(&there, &["import", name, "--json"]).ok().document();
    let entries = done["entries"].as_u64().unwrap();
    assert_eq!(done["path"], there.store().to_str().unwrap());
    assert!(entries >= 200 && done["counts"]["job"].is_u64(), "{done}");
    let refused = run(&there, &["import", name, "--json"]);
    let says = refused.document()["error"].to_string();
    assert!(says.contains("there is a store already"), "{says}");
}

#[tokio::test]
async fn an_import_that_was_killed_is_refused_by_serve_and_begun_anew_by_import() {
    let (here, there) = (nowhere(), nowhere());
    let store = open(&here.store());
    fill(&store, 50).await;
    store.close().await.unwrap();
    let file = here.file("all.ndjson");
    run(&here, &["export", file.to_str().unwrap()]).ok();
    // As it is left when the process dies: its first writes are there, and nothing cleared them away.
    let mut import = Command::new(env!("CARGO_BIN_EXE_braze-relay"))
        .args(["import", "-", "--config"])
        .arg(there.config())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = fs::read(&file).unwrap();
    let mut to = import.stdin.take().unwrap();
    std::io::Write::write_all(&mut to, &text[..text.len() / 2]).unwrap();
    crate::support::until(
        "it has begun",
        std::time::Duration::from_mins(1),
        async || there.store().join("mark").exists().then_some(()),
    )
    .await;
    import.kill().unwrap();
    import.wait().unwrap();
    let (code, said) = there.refused().await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("was not finished"), "{said}");
    run(&there, &["import", file.to_str().unwrap()]).ok();
    let (before, after) = (open(&here.store()), open(&there.store()));
    assert_eq!(asked(&after).await, asked(&before).await);
}

#[tokio::test]
async fn a_compacted_store_is_smaller_and_the_same() {
    let setup = nowhere();
    let store = open(&setup.store());
    fill(&store, 2000).await;
    // Everything passes through, and leaves its traces.
    for round in 0..20 {
        let seeds = (0..500).map(|it| seed(10_000 + it, &format!("r{round}")));
        store.append(seeds.collect(), second(0)).await.unwrap();
        let look_ups = lane("acme/users_export_ids");
        let leased = store.lease(&look_ups, second(2), 500).await.unwrap();
        let moves = leased.iter().map(|leased| {
            let done = Commit::new(Fate::Finish(Outcome::Found), Vec::new());
            (leased.token, done)
        });
        store.commit(moves.collect(), second(2)).await.unwrap();
    }
    let twin = tempfile::tempdir().unwrap();
    store.close().await.unwrap();
    let db = setup.store().join("sled/db");
    fs::create_dir(twin.path().join("sled")).unwrap();
    for name in ["sled/db", "sled/conf", "mark"] {
        fs::copy(setup.store().join(name), twin.path().join(name)).unwrap();
    }
    let size = || fs::metadata(&db).unwrap().len();
    let before = size();
    let ran = run(&setup, &["compact", "--json"]).ok();
    let told = ran.document();
    assert!(
        told["bytes"].as_u64() <= told["bytes_before"].as_u64(),
        "{told}"
    );
    assert!(ran.said.contains(" bytes, before "), "{}", ran.said);
    assert!(size() < before, "{} is no less than {before}", size());
    assert!(!setup.store().join("compact").exists());
    let (old, new) = (open(twin.path()), open(&setup.store()));
    assert_eq!(asked(&new).await, asked(&old).await);
    new.close().await.unwrap();
    // Again, over what one that did not end has left.
    fs::create_dir_all(setup.store().join("compact/sled")).unwrap();
    fs::write(setup.store().join("compact/sled/db"), "rubbish").unwrap();
    run(&setup, &["compact"]).ok();
}
