//! Lines of a picture, in a look.
//!
//! Invariants: pure. What others named steers no terminal; a line is never wider than the screen.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::write::{clipped, wrapped};
use crate::cli::text::plain;

/// What a text is to look like.
#[derive(Clone, Copy)]
pub(super) enum Look {
    Plain,
    Faint,
    Loud,
    Alarm,
    Selected,
}

impl Look {
    fn style(self, colour: bool) -> Style {
        let plain = Style::default();
        match (self, colour) {
            (Look::Plain, _) | (Look::Faint, false) => plain,
            (Look::Faint, true) => plain.fg(Color::DarkGray),
            (Look::Alarm, true) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Look::Loud, _) | (Look::Alarm, false) => plain.add_modifier(Modifier::BOLD),
            (Look::Selected, _) => plain.add_modifier(Modifier::REVERSED),
        }
    }
}

/// Lines of a picture.
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) colour: bool,
    pub(super) lines: Vec<Line<'static>>,
}

impl Canvas {
    pub(super) fn put(&mut self, text: &str, look: Look) {
        let text = clipped(&plain(text), self.width);
        let style = look.style(self.colour);
        self.lines.push(Line::from(Span::styled(text, style)));
    }

    /// Parts in as many lines as they need; none is cut in two unless it is longer than a line.
    pub(super) fn put_parts(&mut self, parts: &[String], look: Look) {
        for line in wrapped(parts, self.width) {
            self.put(&line, look);
        }
    }
}
