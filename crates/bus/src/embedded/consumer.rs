//! The consumer, which is the only member of its group, and the reader.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::groups::{Group, Groups, Member};
use super::topic_cursor::TopicCursor;
use super::{blocking, lock};
use crate::seam::{BusError, Consumer, ConsumerOptions, Delivery, Finisher, Incoming, Position, Reader, ReaderItem};

/// A group member. It has all partitions until it is dropped.
pub struct EmbeddedConsumer {
    pub cursor: TopicCursor,
    pub options: ConsumerOptions,
    pub membership: Membership,
    /// The assignment; `None` after `next` has returned it.
    pub unannounced: Option<Vec<i32>>,
    /// A message that waits until the limits allow it.
    pub waiting: Option<Delivery>,
    pub closed: CancellationToken,
}

/// Leaves the group when dropped.
pub struct Membership {
    pub groups: Arc<Groups>,
    pub group: Arc<Group>,
    pub member: Arc<Member>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.group.leave();
    }
}

impl EmbeddedConsumer {
    /// Returns the waiting message as soon as the limits allow it; `None` if there is none.
    async fn deliver_waiting(&mut self) -> Result<Option<Incoming>, BusError> {
        let Some(delivery) = &self.waiting else { return Ok(None) };
        let weight = delivery.message.weight();
        loop {
            let changed = self.membership.member.changed.notified();
            if lock(&self.membership.member.in_flight).has_room(&self.options, weight) {
                break;
            }
            tokio::select! {
                () = self.closed.cancelled() => return Err(BusError::Closed),
                () = changed => {}
            }
        }
        let Some(delivery) = self.waiting.take() else { return Ok(None) };
        lock(&self.membership.member.in_flight).delivered(delivery.position, weight);
        Ok(Some(Incoming::Delivery(delivery)))
    }
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn next(&mut self) -> Result<Incoming, BusError> {
        if let Some(partitions) = self.unannounced.take() {
            return Ok(Incoming::Assigned(partitions));
        }
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        loop {
            if let Some(incoming) = self.deliver_waiting().await? {
                return Ok(incoming);
            }
            match self.cursor.next().await? {
                ReaderItem::Delivery(delivery) => self.waiting = Some(delivery),
                ReaderItem::Gap { partition, from, to } => return Ok(Incoming::Gap { partition, from, to }),
            }
        }
    }

    fn finisher(&self) -> Arc<dyn Finisher> {
        Arc::clone(&self.membership.member) as Arc<dyn Finisher>
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        let drained = async {
            loop {
                let changed = self.membership.member.changed.notified();
                if lock(&self.membership.member.in_flight).messages() == 0 {
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            () = drained => {}
            () = self.closed.cancelled() => {}
            () = tokio::time::sleep(self.options.drain) => {}
        }
        let groups = Arc::clone(&self.membership.groups);
        drop(self);
        blocking(spawn_blocking(move || groups.store())).await
    }
}

impl Finisher for Member {
    fn finished(&self, position: Position) {
        if lock(&self.in_flight).finished(position) {
            // `notify_one` stores a permit, so a call between a check and a wait is not missed.
            self.changed.notify_one();
        }
    }
}

/// A reader without a group.
pub struct EmbeddedReader(pub TopicCursor);

#[async_trait]
impl Reader for EmbeddedReader {
    async fn next(&mut self) -> Result<ReaderItem, BusError> {
        self.0.next().await
    }
}
