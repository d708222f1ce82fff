//! Server-sent events, read from the pieces in which they come.

/// A single event is not longer; all summaries of a page of a thousand runs are shorter.
const EVENT_LEN_BYTES_MAX: usize = 16 << 20;

/// What has come of an event that has not ended.
#[derive(Debug, Default)]
pub(crate) struct Events {
    rest: Vec<u8>,
}

impl Events {
    /// The data of the events that end in this piece.
    ///
    /// # Errors
    /// An event that is longer than any is.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<Vec<String>, String> {
        // An end may be cut in two: the last byte that was there is looked at again.
        let mut from = self.rest.len().saturating_sub(1);
        self.rest.extend_from_slice(piece);
        let mut all = Vec::new();
        while let Some(at) = self.rest[from..].windows(2).position(|two| two == b"\n\n") {
            let after = self.rest.split_off(from + at + 2);
            let event = std::mem::replace(&mut self.rest, after);
            all.extend(data(&String::from_utf8_lossy(&event)));
            from = 0;
        }
        match self.rest.len() {
            0..=EVENT_LEN_BYTES_MAX => Ok(all),
            _ => Err("the page sends an event that does not end".to_owned()),
        }
    }
}

/// The data of an event; none of one that only keeps the connection alive.
fn data(event: &str) -> Option<String> {
    let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let whole = b":\n\nevent: runs\ndata: {\"a\":1}\n\ndata: b\ndata: c\n\ndata: not ended";
        for len in 1..=whole.len() {
            let mut events = Events::default();
            let found: Vec<_> = whole.chunks(len).flat_map(|piece| events.take(piece).unwrap()).collect();
            assert_eq!(found, ["{\"a\":1}", "b\nc"], "in pieces of {len}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_an_error() {
        let mut events = Events::default();
        let piece = vec![b'x'; EVENT_LEN_BYTES_MAX / 2 + 1];
        assert_eq!(events.take(&piece), Ok(Vec::new()));
        assert!(events.take(&piece).is_err());
    }
}
