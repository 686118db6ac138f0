//! Open TCP connections: the time at which each is observed next, and the values that were already counted.

use std::time::Duration;

use tributary_host::stream::ContextId;
use tributary_proto::duration::as_ns;

/// The maximum number of connections that can be observed while they are open. Further connections are
/// observed only when they end.
pub const OPEN_MAX: usize = 65_536;

/// The maximum number of connections that one tick observes, because each observation costs as much as a
/// request. The next tick continues with the other connections.
pub const REPORTS_MAX: usize = 1_000;

/// The open connections of a worker.
#[derive(Debug, Default)]
pub struct Connections {
    /// The connections in ascending order of their numbers, which Envoy assigns in the order of opening.
    open: Vec<(ContextId, Connection)>,
    /// The connection that was observed last. The next tick continues with the connection after it, so that
    /// every connection gets its turn.
    last: Option<ContextId>,
}

/// The state of a connection besides its attributes.
#[derive(Debug)]
pub struct Connection {
    due_unix_nano: u64,
    /// Whether the connection was observed before.
    pub observed: bool,
    /// For each measure, the value that earlier observations counted.
    pub counted: Vec<u64>,
}

impl Connections {
    /// Registers a connection that was opened. Ignores it if there are too many connections.
    pub fn opened(&mut self, stream: ContextId, measures: usize, interval: Duration, now_unix_nano: u64) {
        if let Err(place) = self.find(stream)
            && self.open.len() < OPEN_MAX
        {
            let due_unix_nano = now_unix_nano.saturating_add(as_ns(interval));
            let connection = Connection { due_unix_nano, observed: false, counted: vec![0; measures] };
            self.open.insert(place, (stream, connection));
        }
    }

    /// Removes a connection that has ended and returns its state. An unknown connection was never observed.
    pub fn ended(&mut self, stream: ContextId, measures: usize) -> Connection {
        match self.find(stream) {
            Ok(place) => self.open.remove(place).1,
            Err(_) => Connection { due_unix_nano: 0, observed: false, counted: vec![0; measures] },
        }
    }

    fn find(&self, stream: ContextId) -> Result<usize, usize> {
        self.open.binary_search_by_key(&stream, |(stream, _)| *stream)
    }

    /// Returns the connections to observe now, at most [`REPORTS_MAX`]. Each connection is due again after
    /// the interval.
    pub fn due(
        &mut self,
        interval: Duration,
        now_unix_nano: u64,
    ) -> impl Iterator<Item = (ContextId, &mut Connection)> {
        let Self { open, last } = self;
        let next = open.partition_point(|(stream, _)| Some(*stream) <= *last);
        let (before, after_last) = open.split_at_mut_checked(next).unwrap_or_default();
        let in_turn = after_last.iter_mut().chain(before);
        let due = in_turn.filter(move |(_, connection)| connection.due_unix_nano <= now_unix_nano);
        due.take(REPORTS_MAX).map(move |(stream, connection)| {
            connection.due_unix_nano = now_unix_nano.saturating_add(as_ns(interval));
            *last = Some(*stream);
            (*stream, connection)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn due(connections: &mut Connections, now_ms: u64) -> Vec<ContextId> {
        connections.due(SECOND, now_ms * 1_000_000).map(|(stream, _)| stream).collect()
    }

    #[test]
    fn a_connection_is_due_once_per_interval_while_it_is_open() {
        let mut connections = Connections::default();
        let (one, two) = (ContextId::new(1), ContextId::new(2));
        connections.opened(one, 1, SECOND, 0);
        connections.opened(two, 1, SECOND, 500_000_000);
        assert_eq!(due(&mut connections, 999), []);
        assert_eq!(due(&mut connections, 1_000), [one]);
        assert_eq!(due(&mut connections, 1_500), [two]);
        connections.ended(one, 1);
        assert_eq!(due(&mut connections, 9_000), [two]);
    }

    #[test]
    fn a_connection_keeps_what_was_counted_until_it_ends() {
        let mut connections = Connections::default();
        let one = ContextId::new(1);
        connections.opened(one, 2, SECOND, 0);
        for (_, connection) in connections.due(SECOND, 2_000_000_000) {
            (connection.observed, connection.counted[1]) = (true, 7);
        }
        let ended = connections.ended(one, 2);
        assert_eq!((ended.observed, ended.counted), (true, vec![0, 7]));
        let unknown = connections.ended(one, 2);
        assert_eq!((unknown.observed, unknown.counted), (false, vec![0, 0]));
    }

    #[test]
    fn connections_that_do_not_fit_into_one_tick_are_observed_in_the_next_ones() {
        let mut connections = Connections::default();
        let all = u32::try_from(REPORTS_MAX * 3 - 1).unwrap();
        (0..all).for_each(|number| connections.opened(ContextId::new(number), 0, SECOND, 0));
        // All connections are due again at each tick.
        let mut seen: Vec<_> = (1..=3).flat_map(|tick| due(&mut connections, tick * 1_000)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), usize::try_from(all).unwrap());
    }

    #[test]
    fn the_number_of_connections_is_limited() {
        let mut connections = Connections::default();
        for number in 0..=u32::try_from(OPEN_MAX).unwrap() {
            connections.opened(ContextId::new(number), 0, SECOND, 0);
        }
        assert_eq!(connections.open.len(), OPEN_MAX);
        assert_eq!(connections.due(SECOND, u64::MAX).count(), REPORTS_MAX);
    }
}
