//! Shared queues with the semantics of `shared_queue.cc` in proxy-wasm-cpp-host.

use std::collections::VecDeque;

use proxy_wasm::types::Status;

/// All queues of a process, and the notifications that are not delivered yet.
#[derive(Debug, Default)]
pub struct FakeQueues {
    queues: Vec<FakeQueue>,
    notifications: VecDeque<Notification>,
    /// If set, records the items that are dequeued.
    pub taken: Option<Vec<Vec<u8>>>,
}

/// A pending `on_queue_ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The last VM that had registered when the item was enqueued.
    pub vm: String,
    /// The number of the queue.
    pub token: u32,
}

#[derive(Debug)]
struct FakeQueue {
    name: String,
    consumer: String,
    items: VecDeque<Vec<u8>>,
}

impl FakeQueues {
    /// Creates a queue, or makes the VM the consumer of an existing queue.
    pub fn register(&mut self, name: &str, vm: &str) -> u32 {
        if let Ok(token) = self.resolve(name) {
            if let Ok(queue) = self.queue(token) {
                queue.consumer = vm.to_owned();
            }
            return token;
        }
        let (name, consumer) = (name.to_owned(), vm.to_owned());
        self.queues.push(FakeQueue { name, consumer, items: VecDeque::new() });
        u32::try_from(self.queues.len()).unwrap_or(0)
    }

    /// Returns the number of a queue, if it is registered.
    pub fn resolve(&self, name: &str) -> Result<u32, Status> {
        let index = self.queues.iter().position(|queue| queue.name == name).ok_or(Status::NotFound)?;
        Ok(u32::try_from(index).unwrap_or(0).saturating_add(1))
    }

    /// Appends an item and sends one notification.
    pub fn enqueue(&mut self, token: u32, item: &[u8]) -> Result<(), Status> {
        let queue = self.queue(token)?;
        queue.items.push_back(item.to_vec());
        let vm = queue.consumer.clone();
        self.notifications.push_back(Notification { vm, token });
        Ok(())
    }

    /// Removes the first item.
    pub fn dequeue(&mut self, token: u32) -> Result<Vec<u8>, Status> {
        let item = self.queue(token)?.items.pop_front().ok_or(Status::Empty)?;
        if let Some(taken) = &mut self.taken {
            taken.push(item.clone());
        }
        Ok(item)
    }

    /// Returns the length of a queue, which Envoy does not expose.
    pub fn len(&self, name: &str) -> usize {
        self.queues.iter().find(|queue| queue.name == name).map_or(0, |queue| queue.items.len())
    }

    /// Returns the items of a queue, which Envoy does not expose.
    pub fn items(&self, name: &str) -> impl Iterator<Item = &[u8]> + use<'_> {
        let queue = self.queues.iter().find(|queue| queue.name == name);
        queue.into_iter().flat_map(|queue| queue.items.iter().map(Vec::as_slice))
    }

    /// Returns the next notification to deliver.
    pub fn next_notification(&mut self) -> Option<Notification> {
        self.notifications.pop_front()
    }

    fn queue(&mut self, token: u32) -> Result<&mut FakeQueue, Status> {
        let index = token.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.queues.get_mut(index)).ok_or(Status::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_one_notification_to_the_last_registrant() {
        let mut queues = FakeQueues::default();
        assert_eq!(queues.resolve("http"), Err(Status::NotFound));
        let token = queues.register("http", "canary");
        queues.enqueue(token, b"first").unwrap();
        assert_eq!(queues.register("http", "service"), token, "the same queue, with its items");
        queues.enqueue(token, b"").unwrap();
        let notification = |vm: &str| Some(Notification { vm: vm.into(), token });
        assert_eq!(
            [queues.next_notification(), queues.next_notification()],
            [notification("canary"), notification("service")]
        );
        assert_eq!(queues.next_notification(), None);
        assert_eq!(queues.dequeue(token), Ok(b"first".to_vec()));
        assert_eq!(queues.dequeue(token), Ok(Vec::new()), "an empty item is an item");
        assert_eq!(queues.dequeue(token), Err(Status::Empty));
        assert_eq!(queues.enqueue(9, b"x"), Err(Status::NotFound));
    }
}
