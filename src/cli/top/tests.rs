//! What is on the screen.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::text::Text;

use super::draw::{ENDLESS, picture};
use super::view::{Act, Change, Key, Target, View};
use super::write::{count, short};
use crate::flow::job::Reason;
use crate::model::time::Timestamp;
use crate::ops::wire::{
    ActivationRow, Dead, Events, Group, Held, HeldActivation, History, LaneRow, Live, Moment,
    Status, StoreRow,
};

fn moment(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_770_600_000 + seconds * 1000)
}

fn lane(name: &str, depth: u64) -> LaneRow {
    LaneRow {
        lane: name.into(),
        depth,
        waiting: 0,
        oldest_seconds: (depth > 0).then_some(61.5),
        eta_seconds: Some(depth as f64 / 40.0),
        in_flight: 0,
        requests_per_second: Some(40.0),
        budget_used_ratio: Some(0.417),
        objects_max: Some(1),
        held: None,
        stopped_until: None,
    }
}

fn held(name: &str, depth: u64) -> LaneRow {
    LaneRow {
        eta_seconds: None,
        held: Some(Held {
            reason: "denied".into(),
            since: moment(0),
            until: None,
            because: None,
        }),
        ..lane(name, depth)
    }
}

fn beat(seconds: u64) -> Moment {
    Moment {
        at: moment(seconds),
        accepted_per_second: seconds as f64 / 10.0,
        done_per_second: 7.25,
        dead_per_second: 0.0,
        credits_per_second: 3.0,
        depth: seconds,
        waiting: 7,
        oldest_seconds: Some(61.5),
        dead: 4,
    }
}

fn live(seconds: u64) -> Live {
    let group = Group {
        workspace: "acme".into(),
        activation: "spring-drop".into(),
        flow: "email".into(),
    };
    let row = |activation: &str, due, eta_seconds| ActivationRow {
        workspace: "acme".into(),
        activation: activation.into(),
        due,
        eta_seconds,
    };
    Live {
        moment: beat(seconds),
        step: seconds.is_multiple_of(10).then(|| beat(seconds)),
        status: Status {
            version: "0.1.0".into(),
            now: moment(seconds),
            uptime_seconds: 7_380,
            events: Events {
                accepted: 123_456,
                done: 123_400,
                dead: 4,
                queued: 52,
                discarded: 0,
                forgotten: 0,
                adds_up: true,
            },
            jobs: Vec::new(),
            dead: vec![Dead {
                group,
                reason: Reason::GaveUp,
                count: 3 + seconds / 100,
            }],
            done: Vec::new(),
            activations: vec![
                row("spring-drop", 200_000, Some(5_000.0)),
                row("autumn", 3, None),
                row("idle", 0, Some(0.0)),
            ],
            held_activations: vec![HeldActivation {
                workspace: "acme".into(),
                activation: "autumn".into(),
                reason: "burials".into(),
                died_of: Some(Reason::Rejected),
                since: moment(0),
                until: None,
                because: None,
            }],
            lanes: vec![
                lane("acme/users_export_ids", 200_000),
                lane("acme/users_track", 12),
                LaneRow {
                    stopped_until: Some(moment(90)),
                    ..lane("acme/default", 1)
                },
                lane("acme/subscription_status_set", 0),
                held("acme/quikly", 7),
            ],
            store: StoreRow {
                bytes: 1,
                free_bytes: 2,
                commit: 3,
                refusing: None,
            },
        },
    }
}

fn watched() -> View {
    let mut view = View::new(true);
    view.history(History {
        every_seconds: 10,
        moments: (0..30).map(|number| beat(number * 10)).collect(),
    });
    view.now(live(300));
    view
}

/// What a terminal of this size shows, a line each.
fn screen(view: &View, columns: u16, rows: u16) -> Vec<String> {
    let mut terminal =
        Terminal::new(TestBackend::new(columns, rows)).unwrap_or_else(|never| match never {});
    let drawn = terminal.draw(|frame| {
        let (width, height) = (usize::from(columns), usize::from(rows));
        let area = frame.area();
        frame.render_widget(Text::from(picture(view, width, height)), area);
    });
    drawn.map_or_else(|never| match never {}, drop);
    let buffer = terminal.backend().buffer().clone();
    let lines = buffer.content().chunks(usize::from(columns));
    lines
        .map(|cells| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned()
        })
        .collect()
}

fn assert_screen(view: &View, columns: u16, rows: u16, expected: &str) {
    let shown = screen(view, columns, rows).join("\n");
    assert_eq!(shown, expected.trim_end_matches('\n'), "\n{shown}\n");
}

#[test]
fn all_of_it_is_on_a_screen_of_80_by_24() {
    assert_screen(
        &watched(),
        80,
        24,
        "\
braze-relay 0.1.0  up 2h 3m                                       live 09:15:00Z
HELD 2: acme/quikly, autumn
accepted 30/s  done 7.2/s  credits 3.0/s  died 0/s  depth 300  oldest 1m 1s
later 7  dead 4
accepted 123456 =  done 123400 +  dead 4 +  queued 52 +  discarded 0 +
forgotten 0
accepted/s                     ▁▂▂▂▂▃▃▃▃▄▄▄▄▅▅▅▅▅▆▆▆▆▇▇▇▇█████ peak 30 in 5m 10s
done/s                        ███████████████████████████████ peak 7.2 in 5m 10s
depth                         ▁▂▂▂▂▃▃▃▃▄▄▄▄▅▅▅▅▅▆▆▆▆▇▇▇▇█████ peak 300 in 5m 10s
LANE                       DEPTH   OLDEST      ETA BUDGET USED       STATE
acme/quikly                    7    1m 1s        ? [####------] 42%  HELD denied
acme/default                   1    1m 1s       1s [####------] 42%  throttled
acme/users_export_ids       200k    1m 1s   1h 23m [####------] 42%  open
acme/users_track              12    1m 1s       1s [####------] 42%  open
acme/sub…ption_status_set      0        -        - [####------] 42%  open
ACTIVATION                                  DUE STATE
autumn                                        3 HELD burials
spring-drop                                200k eta 1h 23m
dead letters:  gave_up 6




q quit  j/k or up/down select  h hold  r release  p pause  ? help
",
    );
}

#[test]
fn what_matters_is_on_a_screen_of_40_by_12() {
    assert_screen(
        &watched(),
        40,
        12,
        "\
braze-relay 0.1.0         live 09:15:00Z
HELD 2: acme/quikly, autumn
accepted 30/s  done 7.2/s  credits 3.0/s
died 0/s  depth 300  oldest 1m 1s
later 7  dead 4
LANE                   DEPTH STATE
acme/quikly                7 HELD denied
acme/default               1 throttled
… 3 more lanes, 2 with work due
activations: 1 held, 2 with work due
dead letters:  gave_up 6
q quit j/k h hold r release p ? help
",
    );
}

#[test]
fn what_is_held_is_named_on_every_screen_however_many_lanes_there_are() {
    let mut view = watched();
    let mut live = live(301);
    let many = (0..60).map(|number| lane(&format!("brand{number}/users_track"), 5));
    live.status.lanes = many.chain([held("zulu/quikly", 1)]).collect();
    view.now(live);
    for (columns, rows) in [(200, 60), (80, 24), (60, 20), (40, 12), (30, 8), (20, 5)] {
        let shown = screen(&view, columns, rows);
        let text = shown.join("\n");
        assert!(text.contains("HELD 2: "), "{columns}x{rows}:\n{text}");
        if rows >= 8 {
            let row = shown
                .iter()
                .find(|line| line.contains("quikly") && line.contains("HELD denied"));
            assert!(row.is_some(), "{columns}x{rows}:\n{text}");
        }
        if (12..60).contains(&rows) {
            assert!(text.contains(" more lanes"), "{columns}x{rows}:\n{text}");
        }
        for line in &shown {
            assert!(line.chars().count() <= usize::from(columns));
        }
    }
}

#[test]
fn a_number_is_written_shorter_and_never_cut() {
    for (number, told) in [
        (0, "0"),
        (99_999, "99999"),
        (100_000, "100k"),
        (999_999, "999k"),
        (1_000_000, "1.0M"),
        (9_999_999, "9.9M"),
        (123_456_789, "123M"),
        (12_345_678_901, "12G"),
    ] {
        assert_eq!(count(number), told);
    }
    for (seconds, told) in [
        (0.0, "0s"),
        (59.9, "59s"),
        (3_599.0, "59m 59s"),
        (86_399.0, "23h 59m"),
        (8_639_999.0, "99d 23h"),
        (86_400_000.0, "1000d"),
    ] {
        assert_eq!(short(seconds), told);
        assert!(told.len() <= 7);
    }
    // At every width, a row of a lane shows its whole depth.
    let view = watched();
    for columns in 30..120 {
        let shown = screen(&view, columns, 24);
        let row = shown
            .iter()
            .find(|line| line.contains("ids") && line.contains("200k"));
        assert!(row.is_some(), "{columns}:\n{}", shown.join("\n"));
    }
}

#[test]
fn a_relay_that_goes_away_and_comes_back_is_told_so() {
    let mut view = watched();
    view.lost("the relay cannot be reached at http://127.0.0.1:9090/: refused".into());
    view.silent_seconds = 12.0;
    let text = screen(&view, 80, 24).join("\n");
    assert!(text.contains("NO RELAY 09:15:00Z"), "{text}");
    assert!(text.contains("RECONNECTING for 12s"), "{text}");
    assert!(text.contains("what is shown is old"), "{text}");
    view.now(live(420));
    let text = screen(&view, 80, 24).join("\n");
    assert!(text.contains("live 09:17:00Z"), "{text}");
    assert!(!text.contains("RECONNECTING"), "{text}");
    assert!(text.contains("gave_up 7 (+1)"), "{text}");
    // A relay that has not hung up and says nothing is no news either.
    view.silent_seconds = 7.0;
    let text = screen(&view, 80, 24).join("\n");
    assert!(text.contains("NO NEWS for 7s"), "{text}");
}

#[test]
fn nothing_is_held_or_released_without_being_asked_once() {
    let mut view = watched();
    let press = |view: &mut View, letter| view.key(Key::Letter(letter));
    assert_eq!(press(&mut view, 'h'), Act::Nothing, "nothing is selected");
    assert_eq!(view.asked, None);
    assert_eq!(view.key(Key::Down), Act::Nothing);
    let quikly = Target::Lane("acme/quikly".into());
    assert_eq!(view.selected, Some(quikly.clone()), "what is held is first");

    for (key, hold) in [('h', true), ('r', false)] {
        assert_eq!(press(&mut view, key), Act::Nothing, "asks first");
        let foot = screen(&view, 80, 24).pop().unwrap_or_default();
        let question = if hold {
            "hold lane acme/quikly until it is released? y/n"
        } else {
            "release lane acme/quikly? y/n"
        };
        assert_eq!(foot, question);
        assert_eq!(press(&mut view, 'n'), Act::Nothing);
        assert_eq!(press(&mut view, 'y'), Act::Nothing, "no question is open");
        press(&mut view, key);
        let target = quikly.clone();
        let change = Change { hold, target };
        assert_eq!(press(&mut view, 'y'), Act::Change(change));
    }
    press(&mut view, 'h');
    assert_eq!(press(&mut view, 'q'), Act::Quit);
}

#[test]
fn keys_go_through_lanes_and_activations_and_stop_at_the_ends() {
    let mut view = watched();
    view.key(Key::Down);
    for _ in 0..20 {
        view.key(Key::Letter('j'));
    }
    assert_eq!(
        view.selected,
        Some(Target::Activation("spring-drop".into()))
    );
    for _ in 0..20 {
        view.key(Key::Letter('k'));
    }
    assert_eq!(view.selected, Some(Target::Lane("acme/quikly".into())));
}

#[test]
fn a_paused_display_stands_still_and_catches_up() {
    let mut view = watched();
    view.key(Key::Letter('p'));
    view.now(live(310));
    let text = screen(&view, 80, 24).join("\n");
    assert!(text.contains("PAUSED 09:15:00Z"), "{text}");
    view.key(Key::Letter('p'));
    let text = screen(&view, 80, 24).join("\n");
    assert!(text.contains("live 09:15:10Z"), "{text}");
}

#[test]
fn without_colours_nothing_is_coloured_and_nothing_is_lost() {
    let coloured = watched();
    let plain = View {
        colour: false,
        ..coloured.clone()
    };
    assert_eq!(screen(&coloured, 80, 24), screen(&plain, 80, 24));
    let colours = |view: &View| {
        let spans = picture(view, 80, 24)
            .into_iter()
            .flat_map(|line| line.spans);
        spans
            .filter(|span| span.style.fg.is_some() || span.style.bg.is_some())
            .count()
    };
    assert!(colours(&coloured) > 0);
    assert_eq!(colours(&plain), 0);
}

#[test]
fn help_explains_the_keys_and_any_key_goes_back() {
    let mut view = watched();
    view.key(Key::Letter('?'));
    let text = screen(&view, 40, 12).join("\n");
    for key in ["q, Ctrl-C", "hold it (asks", "release it"] {
        assert!(text.contains(key), "{key}: {text}");
    }
    assert_eq!(view.key(Key::Letter('x')), Act::Nothing);
    assert!(!view.help);
}

#[test]
fn one_picture_as_text_has_room_for_everything() {
    let mut view = watched();
    let mut live = live(301);
    live.status.lanes = (0..60)
        .map(|number| lane(&format!("brand{number}/users_track"), 5))
        .collect();
    view.now(live);
    let text = super::as_text(&view, 100);
    assert!(text.contains("brand59/users_track"), "{text}");
    assert!(!text.contains("more lanes"), "{text}");
    assert!(!text.contains("q quit"), "{text}");
    assert_eq!(picture(&view, 100, ENDLESS).len(), text.lines().count());
}

#[test]
fn what_others_named_does_not_steer_the_terminal() {
    let mut view = watched();
    let mut live = live(301);
    live.status.lanes = vec![held("a\u{1b}[2J/quikly", 1)];
    live.status.store.refusing = Some("full\u{7}".into());
    view.now(live);
    let text = screen(&view, 80, 24).join("\n");
    assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    assert!(text.contains("TAKES NO NEW EVENTS: full?"), "{text}");
}
