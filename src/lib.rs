//! braze-relay carries events between campaign platforms and Braze and does not lose them.
//!
//! This page is the map: where everything lives, what each part never does, and where to add something. It is read
//! best with `cargo doc --open --document-private-items`.
//!
//! # How an event travels
//!
//! 1. **Accept.** A client posts to [`ingest`], which reads and checks the body, asks what the event starts (app gave it
//!    [`flow::start`] for that), and hands event and first job to the [`store`] as a [`Seed`](flow::job::Seed).
//! 2. **Durable.** The store finds duplicates and writes the rest; when it returns, the event would survive a power cut.
//!    Only then is 202 answered. What cannot run as configured is accepted all the same, and is a dead letter at once.
//! 3. **Lease.** Each lane (what shares one rate limit in a workspace) has one loop in the [`engine`]. It borrows jobs that
//!    are due from the store: fresh ones in order of acceptance, and some of those that failed before.
//! 4. **Ask.** [`flow::ask`] turns the job's state, its event and today's rules into one [`Call`](model::call::Call).
//! 5. **Admit.** [`engine::gate`] says whether the lane may send at all (no stop after a 429, no hold), the pace when.
//! 6. **Pack.** Calls of many jobs share a request, where Braze takes more than one ([`client::pack`]).
//! 7. **Perform.** The [`client`] sends the request, once. A call that must not happen twice was marked in the store
//!    before.
//! 8. **Unpack.** The client reads the answer and gives each call its own: a [`Reply`](model::call::Reply) or one of the
//!    few [`Failure`](model::call::Failure)s, each of which is a decision.
//! 9. **Settle.** [`flow::hear`] says where a reply leads; [`flow::settle`](mod@flow::settle) makes one
//!    [`Commit`](flow::job::Commit) of it: the job is kept, finished or buried, never two of these, and may have spawned
//!    others.
//! 10. **Commit.** The store writes that commit whole. Whatever the job does next, it comes round by its lease again.
//!
//! A crash between any two of these costs nothing but time: the stored state alone says what to do next, and what was on
//! loan is due again.
//!
//! # The parts, from the bottom up
//!
//! Imports go downwards only, and parts of one storey never meet. `tests/tidy.rs` holds that against the code, and with it
//! what is pure, who reads the clock, who names an adapter, and where each package lives.
//!
//! **[`model`]** is the words as types: events, calls and their answers, lanes, rules, ids, moments. Never does I/O, never
//! reads a clock, never draws a random number, never waits, and never knows how anything is stored or sent.
//!
//! **[`clock`]** tells everybody the time. It alone reads the clock of the machine; nobody else ever does. That is why
//! simulated months pass in seconds, and why a clock that jumps makes nothing early.
//!
//! **[`flow`]** decides: the state machines, when what failed is tried again, what becomes of a job. Never does I/O, never
//! waits, never reads a clock: `now`, jitter and ids are arguments. Never sees a setting but the rules of one activation,
//! and never learns how a call is put into HTTP.
//!
//! **[`telemetry`]** is metrics, logs and traces: names and labels in one place. Never carries an address, a phone number, a token
//! or a body; never has a label with unbounded values; never asks the store for a scan.
//!
//! **[`config`]** reads one TOML file, whole, and names all mistakes at once. Never reads a network or a store, never says
//! a secret aloud, never holds a setting that nobody obeys: what this version cannot do is refused at the start.
//!
//! **[`store`]** is a port ([`Store`](store::Store), and [`Operate`](store::Operate) for operators), the format of what is
//! stored, and two adapters: sled, and a plain map, which is the oracle of the other. Never knows a flow beyond "here is
//! a job and when it is due", never speaks HTTP, never reads a clock, and never answers before it is durable.
//!
//! **[`client`]** is a port ([`Client`](client::Client)) and its adapters for Braze and Quikly over HTTP. Never retries,
//! never paces, never decides about jobs, never follows a redirect, and never lets a raw body out. Store and client never meet.
//!
//! **[`engine`]** does what the flows decided, lane by lane, as fast as each may go. Never decides about a job, and never
//! waits by turning. In it, **[`engine::gate`]** is as pure as the flows are: it is told what was
//! answered and says whether a lane is open; so is **[`engine::eta`]**, which says how long the rest takes. The engine knows both ports and no adapter: it runs the same over the map, against a client made up, on
//! paused time.
//!
//! **[`ingest`]** is the first listener, for clients. Never decides what an event starts, never answers 202 before the
//! store did, never holds more memory than its bounds say. Nothing for operators is on it.
//!
//! **[`ops`]** is the second listener, for operators: health, metrics, the API. Never takes an event, and never moves a
//! job but through the store's port. Ingest and ops never meet.
//!
//! **[`sandbox`]** is a Braze and a Quikly to run against. Never imports the client or any type of what is asked and
//! answered, only the clock and the moment: written twice, so that a mistake in one shows in the other. Never imported
//! but by the commands.
//!
//! **[`app`]** puts the relay together and takes it apart. It alone names adapters; nobody else ever does.
//!
//! **[`cli`]** is the commands, one file each. Never holds a decision that a service would need: those are below.
//!
//! # Where to add
//!
//! *A flow*: one file in `src/flow` with its `ask` and `hear`; its variant in [`State`](flow::job::State), behind the
//! others, since its place is stored; two match arms in [`flow`]; its rows in the table there; one hostile world in
//! `tests/it/simulation` for each bound it brings. The compiler names every place that must know of it.
//!
//! *A source*: its name in [`Source`](model::event::Source), behind the others; one file in `src/model` with what it
//! tells; one route in [`ingest`]; its tokens in [`config`]; what it starts in [`flow::start`].
//!
//! *A call to the outside*: a variant of [`Call`](model::call::Call) and its reply; the body and the verdict in [`client`];
//! then, by hand and from the documentation alone, the endpoint in [`sandbox`].
//!
//! *A store*: the two traits of [`store`], and one line in `tests/it/store`, whose suite says whether it is one.
//!
//! *Something operators ask or do*: a handler in [`ops`] with its `#[utoipa::path]`, its documents in [`ops::wire`], one
//! line in the table of routes, from which the OpenAPI document is made; then a command in [`cli`], or a page beside the
//! others in `src/ops/page`.
//!
//! *A stored field*: the next version in [`store::codec`]; golden files in `tests/golden` hold the old ones.

pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod engine;
pub mod flow;
pub mod ingest;
pub mod model;
pub mod ops;
pub mod sandbox;
pub mod store;
pub mod telemetry;
