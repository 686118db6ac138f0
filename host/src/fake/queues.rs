//! Shared queues as `shared_queue.cc` of proxy-wasm-cpp-host keeps them.

use std::collections::VecDeque;

use proxy_wasm::types::Status;

/// All queues of a process, and the notices that were posted and not yet delivered.
#[derive(Debug, Default)]
pub struct Queues {
    queues: Vec<FakeQueue>,
    notices: VecDeque<Notice>,
    /// If there, everything that is taken out of a queue.
    pub taken: Option<Vec<Vec<u8>>>,
}

/// One `on_queue_ready` to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The VM that registered last when the item was put in.
    pub vm: String,
    /// The queue's number.
    pub token: u32,
}

#[derive(Debug)]
struct FakeQueue {
    name: String,
    consumer: String,
    items: VecDeque<Vec<u8>>,
}

impl Queues {
    /// Makes the queue or takes it over with what is in it: the last registrant wins.
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

    /// The queue's number, once it is registered.
    pub fn resolve(&self, name: &str) -> Result<u32, Status> {
        let index = self.queues.iter().position(|queue| queue.name == name).ok_or(Status::NotFound)?;
        Ok(u32::try_from(index).unwrap_or(0).saturating_add(1))
    }

    /// Appends, without a bound, and posts one notice.
    pub fn enqueue(&mut self, token: u32, item: &[u8]) -> Result<(), Status> {
        let queue = self.queue(token)?;
        queue.items.push_back(item.to_vec());
        let vm = queue.consumer.clone();
        self.notices.push_back(Notice { vm, token });
        Ok(())
    }

    /// Takes the first item.
    pub fn dequeue(&mut self, token: u32) -> Result<Vec<u8>, Status> {
        let item = self.queue(token)?.items.pop_front().ok_or(Status::Empty)?;
        if let Some(taken) = &mut self.taken {
            taken.push(item.clone());
        }
        Ok(item)
    }

    /// How many items a queue holds, which the real host tells nobody.
    pub fn len(&self, name: &str) -> usize {
        self.queues.iter().find(|queue| queue.name == name).map_or(0, |queue| queue.items.len())
    }

    /// What a queue holds, which the real host shows nobody.
    pub fn items(&self, name: &str) -> impl Iterator<Item = &[u8]> + use<'_> {
        let queue = self.queues.iter().find(|queue| queue.name == name);
        queue.into_iter().flat_map(|queue| queue.items.iter().map(Vec::as_slice))
    }

    /// The next notice to deliver.
    pub fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
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
    fn each_item_is_one_notice_to_the_last_registrant() {
        let mut queues = Queues::default();
        assert_eq!(queues.resolve("http"), Err(Status::NotFound));
        let token = queues.register("http", "canary");
        queues.enqueue(token, b"first").unwrap();
        assert_eq!(queues.register("http", "service"), token, "the same queue, with what is in it");
        queues.enqueue(token, b"").unwrap();
        let notice = |vm: &str| Some(Notice { vm: vm.into(), token });
        assert_eq!([queues.next_notice(), queues.next_notice()], [notice("canary"), notice("service")]);
        assert_eq!(queues.next_notice(), None);
        assert_eq!(queues.dequeue(token), Ok(b"first".to_vec()));
        assert_eq!(queues.dequeue(token), Ok(Vec::new()), "an empty item is an item");
        assert_eq!(queues.dequeue(token), Err(Status::Empty));
        assert_eq!(queues.enqueue(9, b"x"), Err(Status::NotFound));
    }
}
