//! A line of the terminal that is not shown while it is typed.

use std::io::{Write, stderr};

use anyhow::{Result, bail};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// Asks for a line. Without spaces at its ends.
pub(super) fn read_hidden_line(prompt: &str) -> Result<String> {
    // Before the prompt: what is typed then must not be shown either.
    enable_raw_mode()?;
    let typed = prompt_in_raw_mode(prompt);
    // Also after an error, and after Ctrl-C, which is a key like others in this mode.
    disable_raw_mode()?;
    writeln!(stderr())?;
    Ok(typed?.trim().to_owned())
}

fn prompt_in_raw_mode(prompt: &str) -> Result<String> {
    write!(stderr(), "{prompt}")?;
    stderr().flush()?;
    read_keys()
}

fn read_keys() -> Result<String> {
    let mut line = String::new();
    loop {
        if let Event::Key(key) = event::read()?
            // Some terminals report the release of a key too.
            && key.kind != KeyEventKind::Release
            && is_end(key, &mut line)?
        {
            return Ok(line);
        }
    }
}

/// Whether the key ends the line; others change it.
fn is_end(key: KeyEvent, line: &mut String) -> Result<bool> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Enter => return Ok(true),
        // Terminals send a line feed so.
        KeyCode::Char('j') if is_control => return Ok(true),
        KeyCode::Char('c' | 'd') if is_control => bail!("interrupted; no key was kept"),
        KeyCode::Backspace => drop(line.pop()),
        KeyCode::Char(character) if !is_control => line.push(character),
        _ => {}
    }
    Ok(false)
}
