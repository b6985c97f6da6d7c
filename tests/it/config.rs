//! The configuration from outside: each kind of mistake with its line, its key and what was probably meant; overrides;
//! what is not built yet; and that no secret is ever said aloud.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::fmt::Write as _;
use std::time::Duration;

use braze_relay::config::{Config, EXAMPLE, Env, Loaded, Mistake, Mistakes, PREFIX, Role};
use braze_relay::model::rules::{
    AnswerKind, Identity, OnUnknown, OptIn, ParticipationFlow, PhoneMismatch, SubscribeBy,
};
use proptest::prelude::*;
use secrecy::ExposeSecret;

const SECRETS: [&str; 5] = [
    "RELAY_QUIKLY_TOKEN",
    "RELAY_OUTGROW_TOKEN",
    "RELAY_BRAZE_WEBHOOK_TOKEN",
    "ACME_BRAZE_KEY",
    "ACME_QUIKLY_TOKEN",
];

/// Seven lines that are right; what a case adds begins at line 8.
const BASE: &str = r#"[workspaces.acme.braze]
url = "https://rest.iad-01.braze.com"
api_key_env = "ACME_BRAZE_KEY"
[workspaces.acme.quikly]
url = "https://api.quikly.com/webhook/braze"
token_env = "ACME_QUIKLY_TOKEN"

"#;

fn env() -> Env {
    Env::from_pairs(SECRETS.map(|name| (name, format!("secret-of-{name}"))))
}

fn env_and(name: &str, value: &str) -> Env {
    let all = SECRETS.map(|name| (name.to_owned(), format!("secret-of-{name}")));
    let more = (name.to_owned(), value.to_owned());
    Env::from_pairs(all.into_iter().chain([more]))
}

fn load(text: &str) -> Result<Loaded, Mistakes> {
    Config::from_toml(text, &env())
}

fn good(text: &str) -> Loaded {
    load(text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
}

fn mistakes(text: &str) -> Vec<Mistake> {
    match load(text) {
        Ok(_) => panic!("taken as right:\n{text}"),
        Err(mistakes) => mistakes.0,
    }
}

/// (text, line, key, part of the message)
type Case = (&'static str, usize, &'static str, &'static str);

/// Each text has exactly this one mistake. Lines count from 1 in the text itself, which stands behind [`BASE`].
fn each_is_the_one_mistake(cases: &[Case]) {
    for (text, line, key, part) in cases {
        let found = mistakes(&format!("{BASE}{text}"));
        let said = Mistakes(found.clone()).to_string();
        assert_eq!(found.len(), 1, "{text}\n{said}");
        assert_eq!(found[0].key, *key, "{text}\n{said}");
        assert_eq!(found[0].line, line + 7, "{text}\n{said}");
        assert!(said.contains(part), "{text}\n{said}");
    }
}

#[test]
fn the_example_has_no_mistake_and_shows_the_defaults() {
    let example = good(EXAMPLE).config;
    let few = "[workspaces.acme.braze]\nurl = \"https://rest.iad-01.braze.com\"\napi_key_env = \"ACME_BRAZE_KEY\"\n\
               [workspaces.acme.quikly]\nurl = \"https://api.quikly.com/webhook/braze\"\ntoken_env = \"ACME_QUIKLY_TOKEN\"\n\
               [activations.spring-drop]\nworkspace = \"acme\"\ncredit = { event = \"sms_joined\" }\n\
               created_event = { name = \"quikly_joined\" }\n";
    let few = good(few).config;
    let without_what_has_no_default = |config: &Config| {
        let mut config = config.clone();
        config.ingest.tokens.clear();
        let rules = config.rules.activation("spring-drop").unwrap();
        let mut workspace = config.workspaces["acme"].clone();
        workspace.brand = None;
        let mut shown = format!("{:#?}{:#?}{:#?}", config.ingest, config.ops, config.store);
        write!(shown, "{:#?}{workspace:#?}", config.stop_within).unwrap();
        write!(shown, "{:?}", config.traces).unwrap();
        write!(shown, "{:?}{:?}", config.hold_after, rules.retry).unwrap();
        write!(shown, "{:?}{:?}", rules.credit, rules.created_event).unwrap();
        write!(shown, "{:?}", rules.progress_on_unknown).unwrap();
        shown
    };
    assert_eq!(
        without_what_has_no_default(&example),
        without_what_has_no_default(&few)
    );
}

#[test]
fn what_stands_in_the_example_is_what_is_read() {
    let Loaded { config, warnings } = good(EXAMPLE);
    assert_eq!(warnings, []);
    let rules = config.rules.activation("spring-drop").unwrap();
    assert_eq!(rules.flow, Some(ParticipationFlow::Sms));
    assert_eq!(rules.mark_attributes["quikly_spring_drop"], true);
    assert_eq!(rules.created_attributes["email_subscribe"], "opted_in");
    let seconds = Duration::from_secs;
    let phone = rules.phone.as_ref().unwrap();
    assert_eq!(phone.group, "6f4b0c3e-0000-4000-8000-000000000000");
    assert_eq!(
        (phone.delay, phone.confirm.first),
        (seconds(120), seconds(5))
    );
    assert_eq!(
        (phone.subscribe, phone.mismatch),
        (SubscribeBy::Delayed, PhoneMismatch::Dead)
    );
    assert_eq!(phone.opt_in, None);
    let vip = config.rules.activation("vip-list").unwrap();
    let phone = vip.phone.as_ref().unwrap();
    assert_eq!(phone.confirm.within, seconds(30 * 24 * 3600));
    assert!(
        matches!(&phone.opt_in, Some(OptIn::Event(event)) if event.name == "quikly_double_opt_in")
    );
    assert_eq!(config.rules.activation("app-login").unwrap().flow, None);
    let contents: Vec<_> = config.rules.contents().map(|it| &*it.scope).collect();
    assert_eq!(contents, ["shoe-quiz"]);
    let key = &config.workspaces["acme"].braze.api_key;
    assert_eq!(key.expose_secret(), "secret-of-ACME_BRAZE_KEY");
    assert_eq!(config.not_yet, []);
    let quiz = config.rules.content("shoe-quiz").unwrap();
    let mapping = quiz.mapping.as_ref().unwrap();
    assert_eq!(&*quiz.workspace, "acme");
    assert_eq!(mapping.id.as_deref(), Some("/lead/id"));
    assert_eq!(mapping.email.as_deref(), Some("/lead/email"));
    assert_eq!(mapping.external_id, None);
    assert!(!mapping.bad_answer_kills);
    let attributes: Vec<_> = mapping
        .attributes
        .iter()
        .map(|it| (&*it.name, &*it.from, it.kind, it.coerce, it.required))
        .collect();
    let expected = [
        (
            "outgrow_quiz_score",
            "/result/score",
            AnswerKind::Number,
            false,
            true,
        ),
        (
            "outgrow_custom_segment",
            "/result/segment",
            AnswerKind::String,
            false,
            true,
        ),
        (
            "outgrow_styles",
            "/answers/styles",
            AnswerKind::Array,
            false,
            false,
        ),
    ];
    assert_eq!(attributes, expected);
}

#[test]
fn the_example_stands_by_itself() {
    for word in ["design", ".md", "facts", "issue"] {
        assert!(!EXAMPLE.contains(word), "{word}");
    }
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    let cases = [
        (
            "[ingest]\nlisen = \"127.0.0.1:1\"",
            2,
            "ingest.lisen",
            Some("listen"),
        ),
        (
            "[ingset]\nlisten = \"127.0.0.1:1\"",
            1,
            "ingset",
            Some("ingest"),
        ),
        (
            "[ingest.sources.quickly]\ntokens = []",
            1,
            "ingest.sources.quickly",
            Some("quikly"),
        ),
        (
            "[workspaces.acme.braze.limits]\nuser_track = [\"1/s\"]",
            2,
            "workspaces.acme.braze.limits.user_track",
            Some("users_track"),
        ),
        (
            "[ops]\ntokens = [{ evn = \"ACME_BRAZE_KEY\", value = \"x\" }]",
            2,
            "ops.tokens[0].evn",
            Some("env"),
        ),
        (
            "[activations.a]\nworkspace = \"acme\"\ncredit = { event = \"e\", onunknown = \"park\" }",
            3,
            "activations.a.credit.onunknown",
            Some("on_unknown"),
        ),
        (
            "[outgrow.q]\nworkspace = \"acme\"\nemail = \"/e\"\n[outgrow.q.attributes]\nx = { form = \"/x\", from = \"/x\", type = \"string\" }",
            5,
            "outgrow.q.attributes.x.form",
            Some("from"),
        ),
        ("[store]\nzzz = 1", 2, "store.zzz", None),
        ("[store]\nlisten = \"127.0.0.1:1\"", 2, "store.listen", None),
    ];
    for (text, line, key, nearest) in cases {
        let found = mistakes(&format!("{BASE}{text}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].line, found[0].key.as_str()), (line + 7, key));
        assert_eq!(found[0].nearest.as_deref(), nearest, "{text}");
        assert!(found[0].allowed.is_some() && found[0].remedy.is_some() || key.contains("[0]"));
    }
}

#[test]
fn single_values_are_checked_where_they_stand() {
    each_is_the_one_mistake(&[
        (
            "[ingest]\nlisten = \"localhost\"",
            2,
            "ingest.listen",
            "not an address",
        ),
        (
            "[ingest]\nlisten = 8080",
            2,
            "ingest.listen",
            "found the integer 8080; allowed: a string",
        ),
        (
            "[ingest]\nmax_batch = 0",
            2,
            "ingest.max_batch",
            "from 1 to 1000000",
        ),
        (
            "[ingest]\nmax_batch = -5",
            2,
            "ingest.max_batch",
            "out of range",
        ),
        (
            "[ingest]\nmax_batch = \"10\"",
            2,
            "ingest.max_batch",
            "wrong type",
        ),
        (
            "[ingest]\nmax_event_bytes = 9000000",
            2,
            "ingest.max_event_bytes",
            "larger than a whole body",
        ),
        (
            "[store]\nengine = \"sledge\"",
            2,
            "store.engine",
            "did you mean `sled`",
        ),
        (
            "[store]\nevent_dedupe = \"7 dayz\"",
            2,
            "store.event_dedupe",
            "not a duration",
        ),
        (
            "[store]\nevent_dedupe = \"0s\"",
            2,
            "store.event_dedupe",
            "longer than nothing",
        ),
        (
            "[store]\nevent_dedupe = 7",
            2,
            "store.event_dedupe",
            "\"30d\"",
        ),
        ("[store]\npath = \"\"", 2, "store.path", "0 characters"),
        (
            "[serve]\nstop_within = \"-1s\"",
            2,
            "serve.stop_within",
            "not a duration",
        ),
        (
            "[retry]\nfirst = \"11m\"",
            2,
            "retry.first",
            "cannot be longer than max",
        ),
        (
            "[retry]\nmax_attempts = 1.5",
            2,
            "retry.max_attempts",
            "an integer from 0",
        ),
    ]);
}

#[test]
fn workspaces_are_checked() {
    let braze = |line: &str| {
        format!(
            "{BASE}[workspaces.two.braze]\nurl = \"http://127.0.0.1:9\"\napi_key = \"k\"\n{line}\n"
        )
    };
    let cases = [
        ("share = 0", "share", "above 0"),
        ("share = 1.01", "share", "up to 1"),
        ("share = nan", "share", "out of range"),
        ("share = \"half\"", "share", "wrong type"),
        (
            "track_objects_max = 76",
            "track_objects_max",
            "from 1 to 75",
        ),
        ("max_in_flight = 0", "max_in_flight", "out of range"),
        ("linger = \"soon\"", "linger", "not a duration"),
        ("partner = \"Quikly\"", "partner", "Organization-Product"),
        (
            "limits = { users_track = \"3000/3s\" }",
            "limits.users_track",
            "a list of",
        ),
        (
            "limits = { users_track = [] }",
            "limits.users_track",
            "without any limit",
        ),
        (
            "limits = { users_track = [\"40/s\", \"3000/3m\"] }",
            "limits.users_track[1]",
            "\"3000/3m\"",
        ),
        (
            "limits = { users_track = [\"0/s\"] }",
            "limits.users_track[0]",
            "not a limit",
        ),
        (
            "limits = { users_track = [\"+5/s\"] }",
            "limits.users_track[0]",
            "not a limit",
        ),
        (
            "limits = { users_track = [\"5/0s\"] }",
            "limits.users_track[0]",
            "not a limit",
        ),
    ];
    for (line, key, part) in cases {
        let found = mistakes(&braze(line));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert_eq!(found[0].line, 11, "{line}");
        assert_eq!(found[0].key, format!("workspaces.two.braze.{key}"));
        assert!(found[0].to_string().contains(part), "{}", found[0]);
    }
    each_is_the_one_mistake(&[
        (
            "[workspaces.two.braze]\nurl = \"https://a.example\"",
            1,
            "workspaces.two.braze.api_key",
            "api_key_env",
        ),
        (
            "[workspaces.two.braze]\napi_key = \"k\"",
            1,
            "workspaces.two.braze.url",
            "required",
        ),
        (
            "[workspaces.two]\nbraze = 5",
            2,
            "workspaces.two.braze",
            "allowed: a table",
        ),
    ]);
    let found = mistakes("[workspaces.two]\nbrand = \"Two\"\n");
    let keys: Vec<_> = found.iter().map(|it| (it.line, it.key.as_str())).collect();
    assert_eq!(
        keys,
        [
            (1, "workspaces.two.braze.url"),
            (1, "workspaces.two.braze.api_key")
        ]
    );
    for name in ["none", "\"a/b\""] {
        let text =
            format!("[workspaces.{name}.braze]\nurl = \"http://[::1]:1\"\napi_key = \"k\"\n");
        assert!(mistakes(&text)[0].problem.contains("not a name"), "{name}");
    }
}

#[test]
fn urls_are_https_or_stay_on_this_machine() {
    let with = |url: &str| {
        format!("[workspaces.a.braze]\nurl = \"{url}\"\napi_key_env = \"ACME_BRAZE_KEY\"\n")
    };
    for url in [
        "https://rest.iad-01.braze.com",
        "https://proxy.example:8443/braze",
        "http://localhost:1",
        "http://127.9.9.9:1",
        "http://[::1]:1",
    ] {
        assert_eq!(good(&with(url)).warnings, [], "{url}");
    }
    let cases = [
        ("http://rest.iad-01.braze.com", "without TLS"),
        ("http://127.0.0.1.example.com", "without TLS"),
        ("https://rest.iad-01.braze.com/", "slash at the end"),
        ("https://user:hunter2@rest.iad-01.braze.com", "credentials"),
        ("https://rest.iad-01.braze.com?key=hunter2", "a query"),
        (
            "https://rest.iad-01.braze.com#hunter2",
            "a query or a fragment",
        ),
        ("ftp://rest.iad-01.braze.com", "not a web address"),
        ("rest.iad-01.braze.com", "not a URL"),
        ("//user:hunter2@rest", "not a URL"),
        ("", "not a URL"),
    ];
    for (url, part) in cases {
        let found = mistakes(&with(url));
        assert_eq!(found.len(), 1, "{url}: {found:?}");
        assert_eq!(
            (found[0].line, found[0].key.as_str()),
            (2, "workspaces.a.braze.url")
        );
        let said = found[0].to_string();
        assert!(said.contains(part) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn traces_are_exported_where_that_is_said_and_nowhere_else() {
    assert!(good(BASE).config.traces.is_none());
    let endpoint = "otlp_endpoint = \"http://collector.example:4318/v1/traces\"";
    let all = good(&format!("{BASE}[telemetry]\n{endpoint}\n"));
    let all = all.config.traces.unwrap();
    assert_eq!(
        all.endpoint.as_str(),
        "http://collector.example:4318/v1/traces"
    );
    assert!((all.sample - 1.0).abs() < f64::EPSILON);
    let none = good(&format!("{BASE}[telemetry]\n{endpoint}\notlp_sample = 0\n"));
    assert!(none.config.traces.unwrap().sample.abs() < f64::EPSILON);
    let idle = good(&format!("{BASE}[telemetry]\notlp_sample = 0.5\n"));
    assert!(idle.config.traces.is_none());
    assert_eq!(idle.warnings[0].key, "telemetry.otlp_sample");
    each_is_the_one_mistake(&[
        (
            "[telemetry]\notlp_endpoint = \"https://me:hunter2@collector.example\"\n",
            2,
            "telemetry.otlp_endpoint",
            "credentials do not belong",
        ),
        (
            "[telemetry]\notlp_endpoint = \"collector:4318\"\n",
            2,
            "telemetry.otlp_endpoint",
            "http://HOST",
        ),
        (
            "[telemetry]\notlp_endpoint = \"http://c.example/v1/traces\"\notlp_sample = 1.5\n",
            3,
            "telemetry.otlp_sample",
            "from 0 to 1",
        ),
        (
            "[telemetry]\notlp_endpiont = \"http://c.example/v1/traces\"\n",
            2,
            "telemetry.otlp_endpiont",
            "otlp_endpoint",
        ),
    ]);
}

#[test]
fn a_secret_is_given_in_exactly_one_way_and_must_be_there() {
    let with =
        |lines: &str| format!("[workspaces.a.braze]\nurl = \"https://a.example\"\n{lines}\n");
    let cases = [
        (
            "api_key_env = \"NO_SUCH\"",
            3,
            "api_key_env",
            "NO_SUCH is not set",
        ),
        (
            "api_key_env = \"hunter2hunter2\"",
            3,
            "api_key_env",
            "named here is not set",
        ),
        (
            "api_key_file = \"/nowhere/key\"",
            3,
            "api_key_file",
            "\"/nowhere/key\" cannot be read",
        ),
        (
            "api_key_env = \"ACME_BRAZE_KEY\"\napi_key = \"hunter2\"",
            4,
            "api_key",
            "api_key and api_key_env",
        ),
        ("api_key = \"\"", 3, "api_key", "is empty"),
        ("api_key = \"hunter2 \"", 3, "api_key", "white space"),
        ("api_key = \"hünter2\"", 3, "api_key", "beyond ASCII"),
        ("api_key = 4711", 3, "api_key", "found an integer"),
        (
            "api_key_env = \"hunter2-4711\"",
            3,
            "api_key_env",
            "not shown",
        ),
        (
            "api_key_file = \"hunter2\"",
            3,
            "api_key_file",
            "named here",
        ),
    ];
    for (lines, line, key, part) in cases {
        let found = mistakes(&with(lines));
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        assert_eq!(
            (found[0].line, found[0].key.clone()),
            (line, format!("workspaces.a.braze.{key}"))
        );
        let said = found[0].to_string();
        assert!(said.contains(part), "{said}");
        assert!(
            !["hunter2", "hünter2", "4711"]
                .iter()
                .any(|it| said.contains(it)),
            "{said}"
        );
    }
}

#[test]
fn a_secret_in_a_file_is_read_without_its_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "k-123\r\n").unwrap();
    let text = format!(
        "[workspaces.a.braze]\nurl = \"https://a.example\"\napi_key_file = '{}'\n",
        file.display()
    );
    let loaded = good(&text);
    assert_eq!(
        loaded.config.workspaces["a"].braze.api_key.expose_secret(),
        "k-123"
    );
    assert_eq!(loaded.warnings, []);
}

#[test]
fn an_inline_secret_is_warned_about_only_off_loopback() {
    let lines = |text: &str| -> Vec<(usize, String)> {
        let warnings = good(text).warnings.into_iter();
        warnings.map(|it| (it.line, it.key)).collect()
    };
    let ours = "[workspaces.a.braze]\nurl = \"http://127.0.0.1:1\"\napi_key = \"k\"\n[ingest]\nsources.quikly.tokens = [{ value = \"t\" }]\n";
    assert_eq!(lines(ours), []);
    let theirs = "[workspaces.a.braze]\nurl = \"https://a.example\"\napi_key = \"k\"\n[ingest]\nlisten = \"0.0.0.0:80\"\nsources.quikly.tokens = [\n { env = \"ACME_BRAZE_KEY\" },\n { value = \"t\" }]\n";
    assert_eq!(
        lines(theirs),
        [
            (3, "workspaces.a.braze.api_key".into()),
            (8, "ingest.sources.quikly.tokens[1].value".into())
        ]
    );
}

#[test]
fn listeners_and_their_tokens_are_checked() {
    each_is_the_one_mistake(&[
        (
            "[ops]\nlisten = \"0.0.0.0:9090\"",
            2,
            "ops.tokens",
            "required when not listening on loopback",
        ),
        (
            "[ops]\nlisten = \"0.0.0.0:9090\"\ntokens = []",
            2,
            "ops.tokens",
            "add tokens",
        ),
        (
            "[ops]\nlisten = \"127.0.0.1:8080\"",
            2,
            "ops.listen",
            "[ingest] too",
        ),
        (
            "[ops]\ntokens = [{ value = \"t\", role = \"admin\" }]",
            2,
            "ops.tokens[0].role",
            "\"viewer\", \"operator\"",
        ),
        (
            "[ops]\ntokens = [{ role = \"viewer\" }]",
            2,
            "ops.tokens[0]",
            "this secret is required",
        ),
        (
            "[ops]\ntokens = [\n  { value = \"t\" },\n  { value = \"t\", role = \"operator\" },\n]",
            4,
            "ops.tokens[1]",
            "same secret",
        ),
        (
            "[ops]\ntokens = [\"t0ken\"]",
            2,
            "ops.tokens[0]",
            "found a string",
        ),
        (
            "[ops]\ntokens = \"t0ken\"",
            2,
            "ops.tokens",
            "found a string",
        ),
        (
            "[ingest.sources.quikly]\ntokens = [\n  { env = \"NO_SUCH\" },\n]",
            3,
            "ingest.sources.quikly.tokens[0].env",
            "NO_SUCH is not set",
        ),
        (
            "[ingest]\ntls_cert_file = \"Cargo.toml\"",
            2,
            "ingest.tls_key_file",
            "go together",
        ),
    ]);
    let roles = "[ops]\ntokens = [{ value = \"a\" }, { value = \"b\", role = \"operator\" }]\n";
    let tokens = good(roles).config.ops.tokens;
    let roles: Vec<Role> = tokens.iter().map(|(_, role)| *role).collect();
    assert_eq!(roles, [Role::Viewer, Role::Operator]);
}

#[test]
fn activations_are_checked_alone_and_in_combination() {
    const A: &str = "activations.a";
    let cases = [
        (
            "workspace = \"acne\"",
            2,
            "workspace",
            "did you mean `acme`",
        ),
        ("flow = \"email\"", 1, "workspace", "required"),
        (
            "workspace = \"acme\"\nflow = \"mail\"",
            3,
            "flow",
            "did you mean `email`",
        ),
        (
            "workspace = \"acme\"\nidentity = \"mail\"",
            3,
            "identity",
            "\"export\", \"email\"",
        ),
        (
            "workspace = \"acme\"\nsubscribe = \"inlined\"",
            3,
            "subscribe",
            "did you mean `inline`",
        ),
        (
            "workspace = \"acme\"\nflow = \"sms\"",
            1,
            "subscription_group_id",
            "required",
        ),
        (
            "workspace = \"acme\"\nflow = \"sms\"\nsubscription_group_id = \"12\"",
            4,
            "subscription_group_id",
            "a UUID",
        ),
        (
            "workspace = \"acme\"\nflow = \"double_opt_in\"\nsubscription_group_id = \"6f4b0c3e-0000-4000-8000-000000000000\"",
            1,
            "opt_in",
            "must say how",
        ),
        (
            "workspace = \"acme\"\nopt_in = { event = \"e\", use_double_opt_in_logic = true }",
            3,
            "opt_in",
            "found both",
        ),
        (
            "workspace = \"acme\"\nopt_in = { on_unknown = \"park\" }",
            3,
            "opt_in",
            "found neither",
        ),
        (
            "workspace = \"acme\"\nidentity = \"email\"\ncreated_event = { name = \"e\" }",
            4,
            "created_event",
            "cannot be told apart",
        ),
        (
            "workspace = \"acme\"\nidentity = \"email\"\ncreated_attributes = { a = 1 }",
            4,
            "created_attributes",
            "cannot be told apart",
        ),
        (
            "workspace = \"acme\"\nidentity = \"email\"\nflow = \"sms\"\nsubscription_group_id = \"6f4b0c3e-0000-4000-8000-000000000000\"",
            1,
            "phone_mismatch",
            "\"replace\"",
        ),
        (
            "workspace = \"acme\"\nidentity = \"email\"\nphone_mismatch = \"dead\"\nflow = \"sms\"\nsubscription_group_id = \"6f4b0c3e-0000-4000-8000-000000000000\"",
            4,
            "phone_mismatch",
            "found \"dead\"",
        ),
        (
            "workspace = \"acme\"\nphone_mismatch = \"overwrite\"",
            3,
            "phone_mismatch",
            "\"dead\", \"replace\"",
        ),
        (
            "workspace = \"acme\"\nconfirm_every = { first = \"2m\" }",
            3,
            "confirm_every.first",
            "cannot be longer than max",
        ),
        (
            "workspace = \"acme\"\nconfirm_every = { within = \"1s\" }",
            3,
            "confirm_every.within",
            "max cannot be longer",
        ),
        (
            "workspace = \"acme\"\nsubscription_delay = \"soon\"",
            3,
            "subscription_delay",
            "not a duration",
        ),
        (
            "workspace = \"acme\"\ncredit = { on_unknown = \"park\" }",
            3,
            "credit.event",
            "required",
        ),
        (
            "workspace = \"acme\"\ncredit = { event = \"e\", on_unknown = \"drop\" }",
            3,
            "credit.on_unknown",
            "\"resend\", \"park\"",
        ),
        (
            "workspace = \"acme\"\ncreated_event = \"joined\"",
            3,
            "created_event",
            "a table",
        ),
        (
            "workspace = \"acme\"\nprogress = { on_unknown = 1 }",
            3,
            "progress.on_unknown",
            "wrong type",
        ),
    ];
    for (lines, line, key, part) in cases {
        let found = mistakes(&format!("{BASE}[activations.a]\n{lines}\n"));
        assert_eq!(found.len(), 1, "{lines}\n{found:#?}");
        assert_eq!(
            (found[0].line, found[0].key.clone()),
            (line + 7, format!("{A}.{key}")),
            "{lines}"
        );
        assert!(found[0].to_string().contains(part), "{}", found[0]);
    }
    let without_quikly = "[workspaces.b.braze]\nurl = \"http://localhost:1\"\napi_key = \"k\"\n[activations.a]\nworkspace = \"b\"\nflow = \"email\"\ncredit = { event = \"e\" }\n";
    let found = mistakes(without_quikly);
    assert_eq!(
        (found[0].line, found[0].key.as_str()),
        (7, "activations.a.credit")
    );
    assert!(
        found[0].problem.contains("[workspaces.b.quikly]"),
        "{}",
        found[0]
    );
    let long = format!(
        "{BASE}[activations.a]\nworkspace = \"acme\"\ncreated_event = {{ name = \"{}\" }}\n",
        "x".repeat(256)
    );
    assert!(mistakes(&long)[0].problem.contains("256 characters"));
    assert!(
        mistakes(&format!("{BASE}[activations.none]\nworkspace = \"acme\"\n"))[0]
            .problem
            .contains("not a name")
    );
}

#[test]
fn only_what_describes_a_person_may_be_written() {
    let cases = [
        ("mark", "email = \"a@b.example\"", "who a profile is"),
        ("created", "phone = \"+15550100\"", "who a profile is"),
        ("created", "external_id = \"1\"", "who a profile is"),
        (
            "mark",
            "email_subscribe = \"opted_in\"",
            "only be set for new profiles",
        ),
        (
            "mark",
            "subscription_groups = []",
            "only be set for new profiles",
        ),
        ("created", "push_tokens = []", "controls Braze"),
        ("created", "_update_existing_only = false", "controls Braze"),
        ("mark", "\"$add\" = 1", "an operator"),
        ("mark", "inc = 1", "an operator"),
        ("mark", "level = { inc = 1 }", "an operator"),
        ("mark", "list = [{ \"$remove\" = 1 }]", "an operator"),
        ("mark", "level = { _merge_objects = true }", "an operator"),
        ("mark", "\" level\" = 1", "white space around"),
        ("mark", "\"\" = 1", "not a name"),
        ("mark", "level = inf", "a finite number"),
        ("mark", "at = 07:32:00", "time of day"),
        ("mark", "gender = \"X\"", "not one of"),
        ("mark", "country = \"Germany\"", "two letters"),
        ("mark", "dob = \"01.02.1990\"", "YYYY-MM-DD"),
        ("mark", "first_name = 5", "a string"),
        (
            "created",
            "email_subscribe = \"yes\"",
            "\"opted_in\", \"subscribed\", \"unsubscribed\"",
        ),
        (
            "created",
            "subscription_groups = [{ subscription_group_id = \"6f4b0c3e-0000-4000-8000-000000000000\" }]",
            "required",
        ),
    ];
    for (table, line, part) in cases {
        let text = format!(
            "{BASE}[activations.a]\nworkspace = \"acme\"\n[activations.a.{table}_attributes]\n{line}\n"
        );
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{line}\n{found:#?}");
        assert_eq!(found[0].line, 11, "{line}");
        assert!(
            found[0]
                .key
                .starts_with(&format!("activations.a.{table}_attributes.")),
            "{}",
            found[0]
        );
        assert!(found[0].to_string().contains(part), "{}", found[0]);
    }
    for line in [
        format!("{} = 1", "k".repeat(256)),
        format!("k = \"{}\"", "v".repeat(256)),
    ] {
        let text = format!("{BASE}[activations.a]\nworkspace = \"acme\"\nmark_attributes.{line}\n");
        assert_eq!(mistakes(&text).len(), 1);
    }
    let good = good(&format!(
        "{BASE}[activations.a]\nworkspace = \"acme\"\n[activations.a.mark_attributes]\ndob = 1990-02-01\nn = 1.5\nlist = [\"a\", 1]\nat = 2026-01-01T00:00:00Z\n\"größe\" = {{ w = 1 }}\ngender = \"F\"\n"
    ));
    let marks = &good.config.rules.activation("a").unwrap().mark_attributes;
    let expected = serde_json::json!({"dob": "1990-02-01", "n": 1.5, "list": ["a", 1], "at": "2026-01-01T00:00:00Z", "größe": {"w": 1}, "gender": "F"});
    assert_eq!(serde_json::Value::Object(marks.clone()), expected);
}

#[test]
fn contents_are_checked() {
    let cases = [
        ("email = \"/e\"", 1, "workspace", "required"),
        (
            "workspace = \"acmee\"\nemail = \"/e\"",
            2,
            "workspace",
            "did you mean `acme`",
        ),
        ("workspace = \"acme\"", 1, "email", "external_id"),
        (
            "workspace = \"acme\"\nemail = \"lead/email\"",
            3,
            "email",
            "not a JSON pointer",
        ),
        (
            "workspace = \"acme\"\nemail = \"\"",
            3,
            "email",
            "not a JSON pointer",
        ),
        (
            "workspace = \"acme\"\nemail = \"/a~2b\"",
            3,
            "email",
            "not a JSON pointer",
        ),
        (
            "workspace = \"acme\"\nemail = \"/e\"\nid = 4",
            4,
            "id",
            "wrong type",
        ),
        (
            "workspace = \"acme\"\nemail = \"/e\"\non_bad_answer = \"die\"",
            4,
            "on_bad_answer",
            "\"drop\", \"dead\"",
        ),
        (
            "workspace = \"acme\"\nemail = \"/e\"\nattributes.x = { from = \"/x\", type = \"int\" }",
            4,
            "attributes.x.type",
            "\"number\"",
        ),
        (
            "workspace = \"acme\"\nemail = \"/e\"\nattributes.x = { type = \"number\" }",
            4,
            "attributes.x.from",
            "required",
        ),
        (
            "workspace = \"acme\"\nemail = \"/e\"\nattributes.x = { from = \"/x\" }",
            4,
            "attributes.x.type",
            "required",
        ),
        (
            "workspace = \"acme\"\nemail = \"/e\"\nattributes.x = { from = \"/x\", type = \"time\", coerce = 1 }",
            4,
            "attributes.x.coerce",
            "true or false",
        ),
        (
            "workspace = \"acme\"\nemail = \"/e\"\nattributes.x = { from = \"/x\", type = \"time\", required = \"no\" }",
            4,
            "attributes.x.required",
            "true or false",
        ),
        (
            "workspace = \"acme\"\nemail = \"/e\"\nattributes.phone = { from = \"/x\", type = \"string\" }",
            4,
            "attributes.phone",
            "who a profile is",
        ),
    ];
    for (lines, line, key, part) in cases {
        let found = mistakes(&format!("{BASE}[outgrow.q]\n{lines}\n"));
        assert_eq!(found.len(), 1, "{lines}\n{found:#?}");
        assert_eq!(
            (found[0].line, found[0].key.clone()),
            (line + 7, format!("outgrow.q.{key}"))
        );
        assert!(found[0].to_string().contains(part), "{}", found[0]);
    }
    let text = format!("{BASE}[outgrow.q]\nworkspace = \"acme\"\nexternal_id = \"/a~1b/~0\"\n");
    let warned: Vec<_> = good(&text)
        .warnings
        .into_iter()
        .map(|it| (it.line, it.key))
        .collect();
    let expected = [(8, "outgrow.q.attributes"), (10, "outgrow.q.external_id")];
    assert_eq!(warned, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn what_is_not_built_yet_is_listed_when_it_is_switched_on_and_only_then() {
    let group = "subscription_group_id = \"6f4b0c3e-0000-4000-8000-000000000000\"";
    let cases = [
        ("[activations.a]\nworkspace = \"acme\"\nflow = \"email\"\nidentity = \"export\"\nsubscribe = \"delayed\"".to_owned(), None),
        ("[ingest.sources.outgrow]\ntokens = [{ value = \"t\" }]\nsigning_secrets = []\n[store]\nengine = \"sled\"".to_owned(), None),
        (format!("[activations.a]\nworkspace = \"acme\"\nflow = \"sms\"\n{group}"), None),
        (format!("[activations.a]\nworkspace = \"acme\"\nflow = \"double_opt_in\"\nopt_in.event = \"e\"\n{group}"), None),
        ("[activations.a]\nworkspace = \"acme\"\nidentity = \"email\"".to_owned(), None),
        ("[activations.a]\nworkspace = \"acme\"\nsubscribe = \"inline\"".to_owned(), None),
        ("[ingest.sources.quikly]\nsigning_secrets = [{ value = \"s\" }]".to_owned(), Some((9, "ingest.sources.quikly.signing_secrets"))),
        ("[store]\nengine = \"postgres\"\nurl = \"postgres://u:p@localhost/d\"".to_owned(), Some((9, "store.engine"))),
    ];
    for (text, expected) in cases {
        let not_yet = good(&format!("{BASE}{text}\n")).config.not_yet;
        let found = not_yet.first().map(|it| (it.line, it.key.as_str()));
        assert_eq!(found, expected, "{text}");
        assert!(not_yet.len() <= 1, "{text}");
    }
    let tls = "[ingest]\ntls_cert_file = \"Cargo.toml\"\ntls_key_file = \"Cargo.toml\"\n";
    assert_eq!(good(tls).config.not_yet.len(), 2);
}

#[test]
fn settings_without_effect_are_warned_about() {
    let text = format!(
        "{BASE}[activations.a]\nworkspace = \"acme\"\ncredit = {{ event = \"e\" }}\nsubscription_delay = \"5s\"\nopt_in = {{ event = \"e\" }}\n"
    );
    let warned: Vec<_> = good(&text)
        .warnings
        .into_iter()
        .map(|it| (it.line, it.key))
        .collect();
    let expected = [(10, "credit"), (11, "subscription_delay"), (12, "opt_in")];
    assert_eq!(
        warned,
        expected.map(|(line, key)| (line, format!("activations.a.{key}")))
    );
}

#[test]
fn a_syntax_error_is_one_mistake_that_does_not_repeat_the_line() {
    let found = mistakes("[ops]\nlisten = \"127.0.0.1:1\"\n[store]\nurl = \"hunter2\n");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].line, 4);
    assert!(!found[0].to_string().contains("hunter2"), "{}", found[0]);
    let found = mistakes("[ops]\nlisten = \"127.0.0.1:1\"\n\n[ops]\nlisten = \"127.0.0.1:2\"\n");
    assert_eq!((found.len(), found[0].line), (1, 4));
    assert!(found[0].problem.contains("written twice"), "{}", found[0]);
    let found = mistakes("[ops]\nlisten = \"a\"\nlisten = \"b\"\n");
    assert_eq!(
        (found.len(), found[0].line, found[0].key.as_str()),
        (1, 3, "listen")
    );
}

#[test]
fn ten_mistakes_are_reported_as_ten_in_order_of_their_lines() {
    let text = r#"[ingest]
listen = "here"
max_batch = 0
[ops]
listne = "127.0.0.1:9090"
[store]
event_dedupe = "long"
[workspaces.acme.braze]
url = "http://braze.example"
api_key_env = "NO_SUCH"
share = 2
[workspaces.acme.braze.limits]
users_track = ["3000/fortnight"]
[activations.a]
workspace = "acne"
flow = "smoke"
[outgrow.q]
workspace = "acme"
email = "lead.email"
"#;
    let lines: Vec<usize> = mistakes(text).iter().map(|it| it.line).collect();
    assert_eq!(lines, [2, 3, 5, 7, 9, 10, 11, 13, 15, 16, 19]);
    let ten = text.replace("share = 2", "share = 1");
    assert_eq!(mistakes(&ten).len(), 10);
}

#[test]
fn variables_override_single_keys() {
    let with = |name: &str, value: &str| {
        let loaded = Config::from_toml(EXAMPLE, &env_and(name, value));
        loaded
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .config
    };
    let config = with("RELAY__INGEST__LISTEN", "0.0.0.0:81");
    assert_eq!(config.ingest.listen.to_string(), "0.0.0.0:81");
    assert_eq!(with("RELAY__INGEST__MAX_BATCH", "7").ingest.max_batch, 7);
    assert_eq!(with("relay__ingest__max_batch", " 7 ").ingest.max_batch, 7);
    assert!(
        (with("RELAY__WORKSPACES__ACME__BRAZE__SHARE", "0.5").workspaces["acme"]
            .braze
            .share
            - 0.5)
            .abs()
            < 1e-9
    );
    assert_eq!(
        with("RELAY__WORKSPACES__ACME__BRAND", "2024").workspaces["acme"]
            .brand
            .as_deref(),
        Some("2024")
    );
    assert_eq!(
        with("RELAY__WORKSPACES__ACME__BRAND", "\"q\"").workspaces["acme"]
            .brand
            .as_deref(),
        Some("q")
    );
    let limits = with(
        "RELAY__WORKSPACES__ACME__QUIKLY__LIMIT",
        "[\"7/s\", \"9/min\"]",
    );
    assert_eq!(
        limits.workspaces["acme"]
            .quikly
            .as_ref()
            .unwrap()
            .limit
            .len(),
        2
    );
    let credit = with(
        "RELAY__ACTIVATIONS__SPRING_DROP__CREDIT__ON_UNKNOWN",
        "park",
    );
    let rules = credit.rules.activation("spring-drop").unwrap();
    assert_eq!(rules.credit.as_ref().unwrap().on_unknown, OnUnknown::Park);
    let marks = with(
        "RELAY__ACTIVATIONS__SPRING_DROP__MARK_ATTRIBUTES__QUIKLY_SPRING_DROP",
        "false",
    );
    assert_eq!(
        marks
            .rules
            .activation("spring-drop")
            .unwrap()
            .mark_attributes["quikly_spring_drop"],
        false
    );
    let key = with("RELAY__WORKSPACES__ACME__BRAZE__API_KEY", "12345");
    assert_eq!(
        key.workspaces["acme"].braze.api_key.expose_secret(),
        "12345"
    );
    let tokens = with(
        "RELAY__INGEST__SOURCES__QUIKLY__TOKENS",
        "[{ value = \"a\" }, { value = \"b\" }]",
    );
    assert_eq!(
        tokens.ingest.tokens[&braze_relay::model::event::Source::Quikly].len(),
        2
    );
    let by_email = with("RELAY__ACTIVATIONS__APP_LOGIN__IDENTITY", "email");
    let rules = by_email.rules.activation("app-login").unwrap();
    assert_eq!(rules.identity, Identity::Email);
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    let found = |name: &str, value: &str| match Config::from_toml(EXAMPLE, &env_and(name, value)) {
        Ok(_) => panic!("{name} was taken"),
        Err(mistakes) => {
            assert_eq!(mistakes.0.len(), 1, "{mistakes}");
            mistakes.0[0].clone()
        }
    };
    let cases = [
        ("RELAY__INGEST__LISTN", "RELAY__INGEST__LISTEN"),
        ("RELAY__INGEST_LISTEN", "RELAY__INGEST__LISTEN"),
        (
            "RELAY__WORKSPACES__ACNE__BRAZE__URL",
            "RELAY__WORKSPACES__ACME__BRAZE__URL",
        ),
        (
            "RELAY__ACTIVATIONS__SPRINGDROP__FLOW",
            "RELAY__ACTIVATIONS__SPRING_DROP__FLOW",
        ),
        ("RELAY__STORE__PATHS", "RELAY__STORE__PATH"),
    ];
    for (name, nearest) in cases {
        assert!(name.starts_with(PREFIX));
        let mistake = found(name, "hunter2");
        assert_eq!((mistake.line, mistake.variable.as_deref()), (0, Some(name)));
        assert_eq!(mistake.nearest.as_deref(), Some(nearest));
    }
    let mistake = found("RELAY__INGEST__MAX_BATCH", "many");
    assert_eq!(mistake.key, "ingest.max_batch");
    assert!(
        mistake
            .to_string()
            .starts_with("RELAY__INGEST__MAX_BATCH: ingest.max_batch: wrong type"),
        "{mistake}"
    );
}

#[test]
fn a_variable_that_could_mean_two_keys_is_refused_and_an_exact_one_is_not() {
    let text = "[workspaces.a-b.braze]\nurl = \"http://localhost:1\"\napi_key = \"k\"\n[workspaces.a_b.braze]\nurl = \"http://localhost:1\"\napi_key = \"k\"\n[workspaces.A-B.braze]\nurl = \"http://localhost:1\"\napi_key = \"k\"\n";
    let set = |name: &str| Config::from_toml(text, &Env::from_pairs([(name, "X")]));
    let Err(mistakes) = set("RELAY__WORKSPACES__A-b__BRAND") else {
        panic!("taken");
    };
    assert!(
        mistakes.0[0].problem.contains("more than one key"),
        "{mistakes}"
    );
    let config = set("RELAY__WORKSPACES__A_B__BRAND").unwrap().config;
    assert_eq!(config.workspaces["a_b"].brand.as_deref(), Some("X"));
    assert_eq!(config.workspaces["a-b"].brand, None);
    let both = Env::from_pairs([("RELAY__STORE__PATH", "a"), ("relay__store__path", "b")]);
    assert!(
        Config::from_toml("", &both)
            .unwrap_err()
            .to_string()
            .contains("sets the same key")
    );
}

#[test]
fn an_empty_configuration_is_right_and_warned_about() {
    let Loaded { config, warnings } = good("");
    assert!(config.workspaces.is_empty() && config.not_yet.is_empty());
    assert_eq!(warnings.len(), 1);
}

proptest! {
    /// Secrets in every place that takes one, in the file and in the environment, next to a mistake or not.
    #[test]
    fn a_secret_is_never_said_aloud(secret in "[A-Za-z0-9+/=~!-]{6,20}[a-z][A-Za-z0-9]{5,20}|[A-Za-z]{5,20}[a-z][A-Za-z0-9]{6,20}", broken in 0_usize..12) {
        let lines = ["", "share = 5", "api_key_env = \"ACME_BRAZE_KEY\"", "api_kee = \"@\"", "url = 5", "x = \"@",
            "api_key_file = \"@\"", "api_key_env = \"@\"", "known_for = 3", "timeout = \"x\"", "api_key = 3", "[workspaces.acme.braze.api_key]"];
        let text = format!(
            "[ingest.sources.quikly]\ntokens = [{{ value = \"@\" }}, {{ value = \"@\", env = \"X\" }}]\n[ops]\ntokens = [{{ value = \"@\", role = \"@\" }}]\n\
             [store]\nurl = \"@\"\n[workspaces.acme.quikly]\nurl = \"https://a:@@b.example\"\ntoken = \"@\"\n[workspaces.acme.braze]\napi_key = \"@\"\n{}\n",
            lines[broken]
        );
        // A role is no secret; everything else here is.
        let text = text.replace("role = \"@\"", "role = \"admin\"").replace('@', &secret).replace(&format!("a:{secret}{secret}b"), &format!("a:{secret}@b"));
        let env = Env::from_pairs([("RELAY__WORKSPACES__ACME__QUIKLY__TOKEN_ENV", secret.as_str()), ("ACME_BRAZE_KEY", &secret), ("RELAY__OPS__TOKEN", &secret)]);
        let Err(mistakes) = Config::from_toml(&text, &env) else { panic!("taken") };
        let said = format!("{mistakes} {mistakes:?} {} {env:?}", serde_json::to_string(&mistakes).unwrap());
        prop_assert!(!said.contains(&secret), "{}", said);

        let right = format!(
            "[ingest]\nlisten = \"0.0.0.0:1\"\nsources.quikly.tokens = [{{ value = \"{secret}\" }}]\n[ops]\ntokens = [{{ value = \"{secret}\" }}]\n\
             [store]\nengine = \"postgres\"\nurl = \"postgres://u:{secret}@h/d\"\n\
             [workspaces.a.braze]\nurl = \"https://a.example\"\napi_key = \"{secret}\"\n[workspaces.a.quikly]\nurl = \"https://a.example/q\"\ntoken = \"{secret}\"\n"
        );
        let loaded = match Config::from_toml(&right, &Env::default()) {
            Ok(loaded) => loaded,
            // A slash in the password is no URL any more; then only the message counts.
            Err(mistakes) => { prop_assert!(!mistakes.to_string().contains(&secret)); return Ok(()); }
        };
        let said = format!("{loaded:?} {}", serde_json::to_string(&loaded.warnings).unwrap());
        prop_assert!(!said.contains(&secret), "{}", said);
        prop_assert!(loaded.warnings.len() >= 3);
    }
}

#[test]
fn webhooks_for_a_workspace_without_quikly_are_warned_about_where_they_are_accepted() {
    let text = "[workspaces.acme.braze]\nurl = \"http://127.0.0.1:1\"\napi_key = \"k\"\n[activations.a]\nworkspace = \"acme\"\n";
    assert_eq!(good(text).warnings, []);
    let open = "[ingest.sources.braze]\ntokens = [{ value = \"t\" }]\n";
    let warnings = good(&format!("{text}{open}")).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].key, "activations.a.workspace");
    assert!(warnings[0].text.contains("[workspaces.acme.quikly]"));
    let quikly = "[workspaces.acme.quikly]\nurl = \"http://127.0.0.1:1\"\ntoken = \"t\"\n";
    assert_eq!(good(&format!("{text}{open}{quikly}")).warnings, []);
}
