//! systemd, compose, Kubernetes, Caddy and the Debian package, as far as they can be told without running them.

use std::collections::BTreeSet;

use toml_edit::{DocumentMut, Item};

use super::*;

const UNIT: &str = "deploy/systemd/braze-relay.service";
const COMPOSE: &str = "deploy/docker/compose.yaml";
const CLUSTER: &str = "deploy/kubernetes/braze-relay.yaml";

/// A shipped configuration, and the folder in which its secrets are.
const CONFIGS: [(&str, &str); 2] = [
    ("deploy/systemd/relay.toml", "/etc/braze-relay/credentials"),
    (
        "deploy/docker/config/relay.toml",
        "/run/secrets/braze-relay",
    ),
];

/// The names of the secrets that a configuration names, all in its folder.
fn secrets(config: &str, folder: &str) -> BTreeSet<String> {
    let text = text(config);
    let files = between(&text, "file = \"", "\"");
    let names = files.map(|file| {
        let name = file
            .strip_prefix(folder)
            .and_then(|it| it.strip_prefix('/'));
        name.unwrap_or_else(|| panic!("{config}: {file}"))
            .to_owned()
    });
    let names: BTreeSet<String> = names.collect();
    assert!(names.len() > 2, "{config}: {names:?}");
    names
}

#[test]
fn the_shipped_configurations_are_free_of_mistakes() {
    for (config, folder) in CONFIGS {
        let there = tempfile::tempdir().unwrap();
        for name in secrets(config, folder) {
            let secret = format!("secret-{name}\n");
            std::fs::write(there.path().join(name), secret).unwrap();
        }
        let text = text(config).replace(folder, there.path().to_str().unwrap());
        let (_folder, file) = written("relay.toml", &text);
        let said = content(Command::new(BINARY).args(["check", "--config"]).arg(file));
        assert!(said.starts_with("ok: "), "{config}: {said}");
    }
}

/// The keys of a configuration as in `ingest.sources.*.tokens`: names that are ours to choose are `*`.
fn keys(item: &Item, prefix: &str, out: &mut BTreeSet<String>) {
    let Some(table) = item.as_table_like() else {
        return;
    };
    for (name, value) in table.iter() {
        let chosen = ["workspaces", "activations", "outgrow", "ingest.sources"].contains(&prefix);
        let name = if chosen { "*" } else { name };
        let key = match prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}.{name}"),
        };
        keys(value, &key, out);
        out.insert(key);
    }
}

/// `relay.toml` is no key.
fn is_file(word: &str) -> bool {
    Path::new(word).extension().is_some_and(|it| it == "toml")
}

#[test]
fn what_the_texts_say_of_the_configuration_is_in_it() {
    let example: DocumentMut = braze_relay::config::EXAMPLE.parse().unwrap();
    let mut known = BTreeSet::from(["ops.tokens".to_owned()]);
    keys(example.as_item(), "", &mut known);
    let sections: BTreeSet<&str> = known.iter().filter_map(|it| it.split('.').next()).collect();
    let mut seen = 0;
    for file in [
        "deploy/runbook.md",
        "deploy/README.md",
        "deploy/prometheus/alerts.yml",
        UNIT,
    ] {
        let text = text(file);
        let words =
            text.split(|char: char| !char.is_ascii_alphanumeric() && !"._-*".contains(char));
        for word in words.map(|word| word.trim_end_matches('.')) {
            let first = word.split('.').next().unwrap();
            if !sections.contains(first) || !word.contains('.') || is_file(word) {
                continue;
            }
            seen += 1;
            let general: Vec<&str> = word
                .split('.')
                .map(|part| {
                    let chosen = part.chars().all(|char| char.is_ascii_uppercase());
                    if chosen { "*" } else { part }
                })
                .collect();
            assert!(known.contains(&general.join(".")), "{file}: {word}");
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn the_unit_is_understood_and_exposes_little() {
    if !require("systemd-analyze") {
        return;
    }
    let line = "ExecStart=/usr/bin/braze-relay ";
    let text = text(UNIT);
    assert!(text.contains(line));
    // Only here the binary is elsewhere.
    let (_folder, unit) = written(
        "braze-relay.service",
        &text.replace(line, &format!("ExecStart={BINARY} ")),
    );
    let said = content(
        Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&unit),
    );
    assert_eq!(said, "");
    // In tenths: at most 2.0.
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--threshold=20", "--no-pager"]);
    content(command.arg(&unit));
}

#[test]
fn the_unit_brings_each_secret_to_where_the_configuration_looks_for_it() {
    let unit = text(UNIT);
    let (config, folder) = CONFIGS[0];
    let brought: BTreeSet<String> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("LoadCredential="))
        .map(|line| {
            let (name, file) = line.split_once(':').unwrap();
            assert_eq!(file, format!("{folder}/{name}"));
            name.to_owned()
        })
        .collect();
    assert_eq!(brought, secrets(config, folder));
    assert!(unit.contains(&format!("\nBindReadOnlyPaths=-%d:{folder}\n")));
    assert!(unit.contains("\nExecReload=/bin/kill -HUP $MAINPID\n"));
    assert!(text(config).contains("path = \"/var/lib/braze-relay/"));
    assert!(unit.contains("\nStateDirectory=braze-relay\n"));
}

#[test]
fn each_secret_of_the_containers_is_made_by_the_readme_and_mounted() {
    let readme = text("deploy/README.md");
    let (config, folder) = CONFIGS[1];
    for name in secrets(config, folder) {
        assert!(readme.contains(&name), "{name}");
    }
    assert!(readme.contains("mkdir -m 700 secrets"));
    assert!(readme.contains("--from-file=../docker/secrets"));
    let [compose, cluster] = [COMPOSE, CLUSTER].map(text);
    assert!(compose.contains(&format!("./secrets:{folder}:ro")));
    assert!(cluster.contains(&format!("mountPath: {folder}, readOnly: true")));
    for file in [compose, cluster, text("deploy/docker/Dockerfile")] {
        assert!(
            file.contains("/data") && file.contains("65532") && file.contains("/etc/braze-relay")
        );
    }
}

#[test]
fn compose_and_kubernetes_files_follow_their_schemas() {
    if require("check-jsonschema") {
        let mut command = Command::new("check-jsonschema");
        command.args(["--builtin-schema", "vendor.compose-spec"]);
        content(command.arg(path(COMPOSE)));
    }
    if require("kubernetes-validate") {
        let mut command = Command::new("kubernetes-validate");
        let said = content(command.arg("--strict").arg(path(CLUSTER)));
        let documents = text(CLUSTER).matches("\nkind: ").count();
        assert_eq!(said.matches(" passed ").count(), documents, "{said}");
    }
}

/// The paths of the compose file that are ours are there, but for the secrets.
#[test]
fn what_compose_mounts_is_there() {
    let compose = text(COMPOSE);
    let folder = path("deploy/docker");
    let mounts = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ."));
    let mounts = mounts
        .filter_map(|mount| mount.split_once(':'))
        .map(|(from, _)| format!(".{from}"));
    let mut count = 0;
    for from in mounts.filter(|from| !from.starts_with("./secrets")) {
        assert!(folder.join(&from).exists(), "{from}");
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

#[test]
fn caddy_takes_the_caddyfile() {
    if !require("caddy") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("caddy");
    command
        .env("XDG_CONFIG_HOME", home.path())
        .env("XDG_DATA_HOME", home.path());
    command.env("RELAY_HOST", "relay.example.com");
    command.args(["validate", "--adapter", "caddyfile", "--config"]);
    let said = content(command.arg(path("deploy/docker/Caddyfile")));
    assert!(said.contains("Valid configuration"), "{said}");
}

/// What the image's build copies is there, and nothing that the crate is made of is missing from it.
#[test]
fn the_image_is_built_from_all_it_needs() {
    let dockerfile = text("deploy/docker/Dockerfile");
    let lines = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let lines = lines.filter(|line| !line.starts_with("--from"));
    let copied: Vec<PathBuf> = lines
        .flat_map(|line| {
            let (from, _) = line.rsplit_once(' ').unwrap();
            from.split(' ').map(path).collect::<Vec<_>>()
        })
        .collect();
    for from in &copied {
        assert!(from.exists(), "{}", from.display());
    }
    let mut needed: Vec<PathBuf> = ["Cargo.toml", "Cargo.lock", "benches"].map(path).to_vec();
    included(&path("src"), &mut needed);
    assert!(needed.len() > 12, "{needed:?}");
    for file in needed {
        let there = copied.iter().any(|from| file.starts_with(from));
        assert!(there, "{} is not copied", file.display());
    }
}

/// The files that the crate includes.
fn included(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            included(&entry, out);
        } else if entry.extension().is_some_and(|it| it == "rs") {
            let source = std::fs::read_to_string(&entry).unwrap();
            for file in between(&source, "include_str!(\"", "\"") {
                let file = entry.parent().unwrap().join(file);
                out.push(file.canonicalize().unwrap());
            }
        }
    }
}

#[test]
fn the_debian_package_is_made_of_files_that_are_there() {
    let manifest: DocumentMut = text("Cargo.toml").parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().unwrap();
    let mut installed = BTreeSet::new();
    for asset in assets {
        let asset: Vec<&str> = asset
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|it| it.as_str())
            .collect();
        let [from, to, mode] = asset.as_slice() else {
            panic!("{asset:?}");
        };
        assert!(["644", "755"].contains(mode), "{asset:?}");
        let built = from.strip_prefix("target/release/");
        match built {
            Some(binary) => assert!(BINARY.ends_with(&format!("/{binary}"))),
            None => assert!(path(from).is_file(), "{from}"),
        }
        let name = Path::new(from).file_name().unwrap().to_str().unwrap();
        installed.insert(format!("/{to}{name}"));
    }
    let kept = deb["conf-files"].as_array().unwrap();
    for file in kept.iter().filter_map(|it| it.as_str()) {
        assert!(installed.contains(file), "{file}");
    }
    let unit = text(UNIT);
    let start = between(&unit, "\nExecStart=", "\n").next().unwrap();
    let words: Vec<&str> = start.split(' ').collect();
    let (binary, config) = (words[0], words[words.len() - 1]);
    assert!(
        installed.contains(binary) && installed.contains(config),
        "{installed:?}"
    );
}
