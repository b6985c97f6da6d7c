//! `braze-relay check`: reads a configuration, offline, and says everything that is wrong with it.
//!
//! Invariants: asks nothing of anybody and changes nothing. Answers on standard output, mistakes on standard error; with
//! `--json` one document on standard output and nothing else.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config::{Config, EXAMPLE, Env, Loaded, Mistakes};

/// Check a configuration without asking anything of anybody
///
/// Names every mistake at once, each with its line, its key, what was found and what is allowed. What every key means
/// is said in the annotated example: braze-relay check --example
///
/// Exit codes: 0 the configuration can be used, 1 it cannot.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file (TOML)
    #[arg(long, value_name = "F", required_unless_present = "example")]
    config: Option<PathBuf>,
    /// Answer with one JSON document
    #[arg(long)]
    json: bool,
    /// Print the annotated example, which explains every key, and check nothing
    #[arg(long, conflicts_with_all = ["config", "json"])]
    example: bool,
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let (out, err) = (io::stdout(), io::stderr());
    answer(args, &Env::from_process(), &mut out.lock(), &mut err.lock()).unwrap_or(1)
}

/// Fails only when nobody listens any more.
fn answer(args: &Args, env: &Env, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let Some(file) = args.config.as_deref().filter(|_| !args.example) else {
        out.write_all(EXAMPLE.as_bytes())?;
        return Ok(0);
    };
    let loaded = Config::load(file, env);
    let code = u8::from(loaded.is_err());
    if args.json {
        document(file, &loaded, out)?;
    } else {
        match &loaded {
            Ok(loaded) => good(file, loaded, out)?,
            Err(mistakes) => bad(file, mistakes, err)?,
        }
    }
    Ok(code)
}

fn good(file: &Path, loaded: &Loaded, out: &mut impl Write) -> io::Result<()> {
    let config = &loaded.config;
    for warning in &loaded.warnings {
        writeln!(out, "{}: warning: {warning}", place(file, warning.line))?;
    }
    for not_yet in &config.not_yet {
        let place = place(file, not_yet.line);
        writeln!(
            out,
            "{place}: NOT YET: {}: this version does not do: {}",
            not_yet.key, not_yet.feature
        )?;
    }
    let names = |names: Vec<&str>| match names.as_slice() {
        [] => "none".to_owned(),
        names => format!("{} ({})", names.len(), names.join(", ")),
    };
    writeln!(out, "ok: {} can be read", file.display())?;
    writeln!(out, "  workspaces:  {}", names(workspaces(config)))?;
    writeln!(out, "  activations: {}", names(activations(config)))?;
    writeln!(out, "  contents:    {}", names(contents(config)))?;
    match config.not_yet.len() {
        0 => Ok(()),
        count => writeln!(
            out,
            "But `serve` will REFUSE TO START with it: {count} setting(s) marked NOT YET above must be taken out first."
        ),
    }
}

fn bad(file: &Path, mistakes: &Mistakes, err: &mut impl Write) -> io::Result<()> {
    for mistake in &mistakes.0 {
        writeln!(err, "{}: {mistake}", place(file, mistake.line))?;
    }
    match mistakes.0.len() {
        1 => writeln!(err, "1 mistake"),
        count => writeln!(err, "{count} mistakes"),
    }
}

/// Says, for another command, what is wrong with a configuration that cannot be used; its exit code.
pub(super) fn refused(
    file: &Path,
    mistakes: Mistakes,
    json: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<u8> {
    if json {
        document(file, &Err(mistakes), out)?
    } else {
        bad(file, &mistakes, err)?
    }
    Ok(2)
}

fn document(
    file: &Path,
    loaded: &Result<Loaded, Mistakes>,
    out: &mut impl Write,
) -> io::Result<()> {
    let file = file.display().to_string();
    let document = match loaded {
        Ok(Loaded { config, warnings }) => json!({
            "ok": true,
            "file": file,
            "mistakes": [],
            "warnings": warnings,
            "not_yet": config.not_yet,
            "will_serve": config.not_yet.is_empty(),
            "workspaces": workspaces(config),
            "activations": activations(config),
            "contents": contents(config),
            "effective": config.effective,
        }),
        Err(mistakes) => json!({ "ok": false, "file": file, "mistakes": mistakes }),
    };
    writeln!(out, "{document:#}")
}

fn place(file: &Path, line: usize) -> String {
    match line {
        0 => file.display().to_string(),
        line => format!("{}:{line}", file.display()),
    }
}

fn workspaces(config: &Config) -> Vec<&str> {
    config.workspaces.keys().map(|name| &**name).collect()
}

fn activations(config: &Config) -> Vec<&str> {
    let all = config.rules.activations();
    all.map(|rules| &*rules.scope).collect()
}

fn contents(config: &Config) -> Vec<&str> {
    let all = config.rules.contents();
    all.map(|rules| &*rules.scope).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn check(text: &str, json: bool) -> (u8, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        std::fs::write(&file, text).unwrap();
        check_file(&file, json)
    }

    fn check_file(file: &Path, json: bool) -> (u8, String, String) {
        let args = Args {
            config: Some(file.to_owned()),
            json,
            example: false,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let env = Env::from_pairs([("KEY", "k-123")]);
        let code = answer(&args, &env, &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(out), text(err))
    }

    const GOOD: &str = "[workspaces.acme.braze]\nurl = \"https://rest.iad-01.braze.com\"\napi_key_env = \"KEY\"\n[activations.spring]\nworkspace = \"acme\"\n";

    #[test]
    fn a_good_file_is_summed_up() {
        let (code, out, err) = check(GOOD, false);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("ok: "), "{out}");
        assert!(out.contains("workspaces:  1 (acme)"), "{out}");
        assert!(out.contains("activations: 1 (spring)"), "{out}");
        assert!(!out.contains("NOT YET"), "{out}");
    }

    #[test]
    fn what_is_not_built_yet_is_said_loudly_and_is_no_mistake() {
        let text =
            format!("{GOOD}[store]\nengine = \"postgres\"\nurl = \"postgres://u:p@localhost/d\"\n");
        let (code, out, _) = check(&text, false);
        assert_eq!(code, 0);
        assert!(out.contains("relay.toml:7: NOT YET: store.engine"), "{out}");
        assert!(out.contains("REFUSE TO START"), "{out}");
        let (code, out, _) = check(&text, true);
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(code, 0);
        assert_eq!(document["will_serve"], false);
        assert_eq!(document["not_yet"][0]["line"], 7);
    }

    #[test]
    fn mistakes_go_to_standard_error_with_file_and_line() {
        let text = format!("{GOOD}flwo = \"email\"\n");
        let (code, out, err) = check(&text, false);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(
            err.contains("relay.toml:6: activations.spring.flwo: unknown key"),
            "{err}"
        );
        let (code, out, err) = check(&text, true);
        assert_eq!((code, err.as_str()), (1, ""));
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["ok"], false);
        assert_eq!(document["mistakes"][0]["nearest"], "flow");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let (code, out, err) = check_file(Path::new("/nowhere/relay.toml"), false);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(
            err.starts_with("/nowhere/relay.toml: the file cannot be read"),
            "{err}"
        );
    }

    #[test]
    fn the_example_is_printed_whole() {
        let args = Args {
            config: None,
            json: false,
            example: true,
        };
        let mut out = Vec::new();
        let code = answer(&args, &Env::default(), &mut out, &mut Vec::new()).unwrap();
        assert_eq!((code, out.as_slice()), (0, EXAMPLE.as_bytes()));
    }
}
