//! `watch` and `clear`: prints what happens as it happens; has the firmware forget.

use crate::cli::{Clear, WatchArgs};
use crate::failure::Failure;
use crate::session::Session;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::ControlFlow;
use weir_api::event::EventRow;
use weir_api::message::{self, Call, Clearable, Cleared, Watch};

/// Prints a line for each event, at once, until there were enough or the user has had enough.
pub fn watch(session: &mut Session<'_>, args: &WatchArgs) -> Result<(), Failure> {
    let watch = Watch { events: args.events.clone(), bridge: args.bridge.as_ref().map(ToString::to_string) };
    let Session { firmware, out, json, .. } = session;
    let mut left = args.count.unwrap_or(u64::MAX);
    firmware.watch(watch, &mut |row| {
        if *json {
            serde_json::to_writer(&mut *out, &row).map_err(|e| Failure::Output(e.into()))?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", line(&row))?;
        }
        out.flush()?;
        left -= 1;
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

/// An event for a person: when, what, and the fields that it has, by the names that they have in JSON.
fn line(row: &EventRow) -> String {
    let mut line = format!("{} {}", utc(row.time_unix_ms), row.event);
    let EventRow {
        time_unix_ms: _,
        event: _,
        bridge,
        mac,
        address,
        location,
        from,
        port,
        what,
        worker,
        generation,
        lost,
    } = row;
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = write!(line, " {name}={value}");
        }
    };
    field("what", what.clone());
    field("bridge", bridge.clone());
    field("mac", mac.as_ref().map(ToString::to_string));
    field("address", address.as_ref().map(ToString::to_string));
    field("location", location.as_ref().map(ToString::to_string));
    field("from", from.as_ref().map(ToString::to_string));
    field("port", port.clone());
    field("generation", generation.as_ref().map(ToString::to_string));
    field("lost", lost.as_ref().map(ToString::to_string));
    field("worker", worker.as_ref().map(ToString::to_string));
    line
}

/// A time as RFC 3339 has it, in UTC.
fn utc(unix_ms: u64) -> String {
    let (seconds, millis) = (unix_ms / 1000, unix_ms % 1000);
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // Whole cycles of the calendar first, so that few years are left to count.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= if is_leap(year) { 366 } else { 365 } {
        days -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    let mut month = 1;
    for length in [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", days + 1)
}

/// `clear WHAT`.
pub fn clear(session: &mut Session<'_>, what: &Clear) -> Result<(), Failure> {
    let call = match what {
        Clear::Mac { bridge, mac } => {
            message::Clear { what: Clearable::Mac, bridge: bridge.to_string(), mac: *mac, address: None }
        }
        Clear::Binding { bridge, address } => {
            message::Clear { what: Clearable::Binding, bridge: bridge.to_string(), mac: None, address: *address }
        }
    };
    let cleared: Cleared = session.ask(Call::Clear(call))?;
    if session.json {
        return session.print_json(&cleared);
    }
    for worker in &cleared.workers {
        writeln!(session.out, "worker {} forgot {}", worker.core, worker.cleared)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::event::Event;

    #[test]
    fn times_are_those_of_date() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (13_569_465_600_000, "2400-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(ms), text);
        }
        assert!(utc(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn a_line_has_the_fields_that_apply() {
        let mut row = EventRow::new(0, Event::Moved);
        row.bridge = Some("red".to_owned());
        row.mac = "02:00:00:00:00:01".parse().ok();
        row.location = "vlan/lan0/100".parse().ok();
        row.from = "vxlan/7/192.0.2.2".parse().ok();
        assert_eq!(
            line(&row),
            "1970-01-01T00:00:00.000Z moved bridge=red mac=02:00:00:00:00:01 location=vlan/lan0/100 \
             from=vxlan/7/192.0.2.2"
        );
    }
}
