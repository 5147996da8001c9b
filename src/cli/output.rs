//! [`Output`]: the only place that writes to the terminal.

use super::{CliError, Global, format};
use console::Style;
use serde_json::Value;
use std::{
    env,
    io::{self, BufRead, IsTerminal, Write},
};

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

impl ColorChoice {
    fn wants(self, terminal: bool, no_color: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => terminal && !no_color,
        }
    }
}

/// How this process talks: to whom, how much, in which form.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// Results as JSON.
    pub json: bool,
    /// Progress as JSON lines.
    pub json_progress: bool,
    /// No talk.
    pub quiet: bool,
    /// Yes to all questions.
    pub yes: bool,
    colors_out: bool,
    colors_err: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        // https://no-color.org: set and not empty.
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json: global.json,
            json_progress: global.json && global.progress,
            quiet: global.quiet,
            yes: global.yes,
            colors_out: global.color.wants(io::stdout().is_terminal(), no_color),
            colors_err: global.color.wants(io::stderr().is_terminal(), no_color),
        }
    }

    /// A result. Whoever reads it may stop early: that is no error.
    pub(crate) fn text(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::io("standard output", &error)),
            _ => Ok(()),
        }
    }

    /// A result, as one line.
    pub(crate) fn line(&self, text: &str) -> Result<(), CliError> {
        self.text(&format!("{text}\n"))
    }

    /// A result, as one line of JSON.
    pub(crate) fn value(&self, value: &Value) -> Result<(), CliError> {
        self.line(&value.to_string())
    }

    /// Talk. Nothing can be done when standard error is closed.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet && !self.json {
            self.warn(text);
        }
    }

    /// Something that even a quiet user must see.
    pub(crate) fn warn(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// `error: …` and `  help: …`, or one JSON object, on standard error.
    pub(crate) fn error(&self, error: &CliError) {
        let mut err = io::stderr().lock();
        if self.json {
            let value = serde_json::json!({
                "error": { "kind": format!("{:?}", error.kind).to_lowercase(), "message": error.message,
                           "help": error.help, "exit_code": error.exit_code() }
            });
            let _ = writeln!(err, "{value}");
            return;
        }
        let red = Style::new().red().bold().force_styling(self.colors_err);
        let cyan = Style::new().cyan().force_styling(self.colors_err);
        let message = format::printable_lines(&error.message);
        let _ = writeln!(err, "{} {message}", red.apply_to("error:"));
        if let Some(help) = &error.help {
            let _ = writeln!(err, "  {} {}", cyan.apply_to("help:"), format::printable(help));
        }
    }

    /// Asks before something is removed. Without a terminal to ask at, the answer is an error that names `--yes`.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(CliError::usage(question.to_owned()).help("confirm with --yes"));
        }
        let _ = write!(io::stderr(), "{question} [y/N] ");
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map_err(|error| CliError::io("standard input", &error))?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CliError::new(pangea_protocols::job::ErrorKind::Interrupted, "nothing was changed")),
        }
    }

    /// Columns of the terminal that results go to; `None` when they go elsewhere.
    pub(crate) fn width(&self) -> Option<usize> {
        let terminal = console::Term::stdout();
        terminal.is_term().then(|| usize::from(terminal.size().1))
    }

    /// Dimmed, for headers.
    pub(crate) fn dim(&self, text: &str) -> String {
        Style::new().dim().force_styling(self.colors_out).apply_to(text).to_string()
    }

    /// May standard output be coloured?
    pub(crate) fn colors_out(&self) -> bool {
        self.colors_out
    }

    /// May standard error be coloured?
    pub(crate) fn colors_err(&self) -> bool {
        self.colors_err
    }
}

#[cfg(test)]
mod tests {
    use super::ColorChoice::*;

    #[test]
    fn no_color_and_pipes_turn_colours_off_unless_they_are_asked_for() {
        assert!(Auto.wants(true, false));
        assert!(!Auto.wants(true, true) && !Auto.wants(false, false) && !Never.wants(true, false));
        assert!(Always.wants(false, true));
    }
}
