//! The settings of a configuration by key, so that two can be held against each other.
//!
//! Invariants: what a key holds can be compared and neither read nor printed: a secret is there as its digest, and a key
//! counts as changed when what it means has, wherever that comes from. A key of the file that is missing here would be
//! one that no reload tells of: every field is taken apart by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use secrecy::{ExposeSecret, SecretString};

use super::{Braze, Config, Ingest, Ops, Quikly, Store, Workspace};
use crate::model::Name;
use crate::model::rules::{Mapping, PhoneRules, RetryPolicy, Rules};

/// What each key holds.
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Those of `config`.
    pub fn of(config: &Config) -> Settings {
        let mut all = Settings(BTreeMap::new());
        let Config {
            ingest,
            ops,
            store,
            log_level,
            stop_within,
            traces,
            workspaces,
            rules,
            retry,
            hold_after,
            not_yet: _,
            effective: _,
        } = config;
        all.ingest(ingest);
        let Ops { listen, tokens } = ops;
        all.put("ops.listen", listen);
        let tokens = tokens.iter().map(|(token, role)| (digest(token), *role));
        all.put("ops.tokens", &tokens.collect::<Vec<_>>());
        all.store(store);
        all.put("log.level", log_level);
        all.put("serve.stop_within", stop_within);
        all.put(
            "telemetry.otlp_endpoint",
            &traces.as_ref().map(|it| &it.endpoint),
        );
        all.put(
            "telemetry.otlp_sample",
            &traces.as_ref().map(|it| it.sample),
        );
        let RetryPolicy {
            first,
            max,
            max_attempts,
            max_age,
        } = retry;
        all.put("retry.first", first);
        all.put("retry.max", max);
        all.put("retry.max_attempts", max_attempts);
        all.put("retry.max_age", max_age);
        all.put("retry.hold_after", hold_after);
        for (name, workspace) in workspaces {
            all.workspace(name, workspace);
        }
        for rules in rules.activations() {
            all.activation(rules);
        }
        for rules in rules.contents() {
            if let Some(mapping) = &rules.mapping {
                all.content(rules, mapping);
            }
        }
        all
    }

    /// The keys that are not the same in both, in order. A table of a name that only one of them has is told as one.
    pub fn changed(&self, other: &Settings) -> Vec<String> {
        let mut changed: Vec<String> = Vec::new();
        let keys: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        for key in keys {
            // In order: a table comes before its keys.
            let told = changed.iter().any(|table| is_under(key, table));
            if !told && self.0.get(key) != other.0.get(key) {
                changed.push(key.clone());
            }
        }
        changed
    }

    fn put(&mut self, key: impl Into<String>, value: &impl Debug) {
        self.0.insert(key.into(), format!("{value:?}"));
    }

    fn ingest(&mut self, ingest: &Ingest) {
        let Ingest {
            listen,
            max_body_bytes,
            max_event_bytes,
            max_batch,
            tokens,
        } = ingest;
        self.put("ingest.listen", listen);
        self.put("ingest.max_body_bytes", max_body_bytes);
        self.put("ingest.max_event_bytes", max_event_bytes);
        self.put("ingest.max_batch", max_batch);
        for (source, tokens) in tokens {
            let tokens: Vec<String> = tokens.iter().map(digest).collect();
            self.put(
                format!("ingest.sources.{}.tokens", source.as_str()),
                &tokens,
            );
        }
    }

    fn store(&mut self, store: &Store) {
        let Store {
            path,
            cache_bytes,
            max_jobs,
            reserve_bytes,
            ballast_bytes,
            event_dedupe,
            credit_dedupe,
            webhook_dedupe,
            done_retention,
            dead_retention,
        } = store;
        self.put("store.path", path);
        self.put("store.cache_bytes", cache_bytes);
        self.put("store.max_jobs", max_jobs);
        self.put("store.reserve_bytes", reserve_bytes);
        self.put("store.ballast_bytes", ballast_bytes);
        self.put("store.event_dedupe", event_dedupe);
        self.put("store.credit_dedupe", credit_dedupe);
        self.put("store.webhook_dedupe", webhook_dedupe);
        self.put("store.done_retention", done_retention);
        self.put("store.dead_retention", dead_retention);
    }

    fn workspace(&mut self, name: &Name, workspace: &Workspace) {
        let Workspace {
            brand,
            braze,
            quikly,
        } = workspace;
        let table = format!("workspaces.{name}");
        self.put(table.clone(), &());
        self.put(format!("{table}.brand"), brand);
        self.braze(&format!("{table}.braze"), braze);
        if let Some(quikly) = quikly {
            self.quikly(&format!("{table}.quikly"), quikly);
        }
    }

    fn braze(&mut self, table: &str, braze: &Braze) {
        let Braze {
            url,
            api_key,
            share,
            timeout,
            max_in_flight,
            track_objects_max,
            linger,
            order_gap,
            partner,
            known_for,
            limits,
        } = braze;
        let mut put = |key: &str, value: &dyn Debug| self.put(format!("{table}.{key}"), &value);
        put("url", &url.as_str());
        put("api_key", &digest(api_key));
        put("share", share);
        put("timeout", timeout);
        put("max_in_flight", max_in_flight);
        put("track_objects_max", track_objects_max);
        put("linger", linger);
        put("order_gap", order_gap);
        put("partner", partner);
        put("known_for", known_for);
        for (lane, windows) in limits {
            put(&format!("limits.{lane}"), windows);
        }
    }

    fn quikly(&mut self, table: &str, quikly: &Quikly) {
        let Quikly {
            url,
            token,
            limit,
            max_in_flight,
            timeout,
        } = quikly;
        let mut put = |key: &str, value: &dyn Debug| self.put(format!("{table}.{key}"), &value);
        put("url", &url.as_str());
        put("token", &digest(token));
        put("limit", limit);
        put("max_in_flight", max_in_flight);
        put("timeout", timeout);
    }

    fn activation(&mut self, rules: &Rules) {
        let Rules {
            scope,
            workspace,
            flow,
            identity,
            phone,
            mark_attributes,
            created_attributes,
            created_event,
            credit,
            progress_on_unknown,
            // Told where they are written.
            retry: _,
            mapping: _,
            order_gap: _,
            known_for: _,
        } = rules;
        let table = format!("activations.{scope}");
        self.put(table.clone(), &());
        let mut put = |key: &str, value: &dyn Debug| self.put(format!("{table}.{key}"), &value);
        put("workspace", workspace);
        put("flow", flow);
        put("identity", identity);
        put("mark_attributes", mark_attributes);
        put("created_attributes", created_attributes);
        put("created_event", created_event);
        put("credit", credit);
        put("progress", progress_on_unknown);
        let Some(phone) = phone else { return };
        let PhoneRules {
            group,
            subscribe,
            delay,
            mismatch,
            confirm,
            opt_in,
        } = phone;
        put("subscription_group_id", group);
        put("subscribe", subscribe);
        put("subscription_delay", delay);
        put("phone_mismatch", mismatch);
        put("confirm_every", confirm);
        put("opt_in", opt_in);
    }

    fn content(&mut self, rules: &Rules, mapping: &Mapping) {
        let Mapping {
            id,
            email,
            external_id,
            bad_answer_kills,
            attributes,
        } = mapping;
        let table = format!("outgrow.{}", rules.scope);
        self.put(table.clone(), &());
        let mut put = |key: &str, value: &dyn Debug| self.put(format!("{table}.{key}"), &value);
        put("workspace", &rules.workspace);
        put("id", id);
        put("email", email);
        put("external_id", external_id);
        put("on_bad_answer", bad_answer_kills);
        put("attributes", attributes);
    }
}

/// Whether `key` is in the table `table`, or is it.
fn is_under(key: &str, table: &str) -> bool {
    let rest = key.strip_prefix(table);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn digest(secret: &SecretString) -> String {
    let digest = blake3::hash(secret.expose_secret().as_bytes());
    digest.to_hex().to_string()
}
