//! Calls of librdkafka that the `rdkafka` crate does not offer safely. All `unsafe` of this crate is here.
//!
//! - [`describe_topics`] returns a topic's id, which changes when a topic is created again; the crate has no such call.
//! - [`headers`] reads headers whose names are not UTF-8. The crate panics on them, and external producers may send them.
//! - [`QueueNotifier`] signals a client's events on a file descriptor, so that an event loop can wait for them; the crate can only
//!   block a thread.

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use bytes::Bytes;
use contracts::Headers;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaErrorCode;
use uuid::Uuid;

/// A topic on the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Name of the topic.
    pub name: String,
    /// Topic id; `None` from brokers older than 2.8.
    pub id: Option<Uuid>,
    /// Number of partitions.
    pub partitions: i32,
}

/// An object of librdkafka that the caller must free.
struct Owned<T> {
    pointer: *mut T,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.pointer.is_null() {
            // SAFETY: `pointer` came from the constructor that belongs to `free`, and is freed here only.
            unsafe { (self.free)(self.pointer) }
        }
    }
}

/// Writes to a file descriptor when a client's empty event queue gets an event. It must be dropped before the client.
pub struct QueueNotifier {
    queue: Owned<sys::rd_kafka_queue_t>,
    // Closed only after `drop` has made librdkafka stop writing to it.
    _fd: OwnedFd,
}

// SAFETY: librdkafka's queues are made for use by several threads at once; all calls take the queue's own lock.
unsafe impl Send for QueueNotifier {}
// SAFETY: as above.
unsafe impl Sync for QueueNotifier {}

impl QueueNotifier {
    /// Makes librdkafka write one byte to `fd` when an event arrives in the client's empty queue,
    /// and the next byte only after the queue was polled. `fd` must be non-blocking.
    pub fn new<C: ClientContext>(client: &Client<C>, fd: OwnedFd) -> Self {
        let byte = [1_u8];
        // SAFETY: the client outlives this call, and its queue is counted, so that it lives until `queue` is dropped. The byte
        // is copied. `fd` stays open until `drop` has removed it from librdkafka.
        let pointer = unsafe {
            let pointer = sys::rd_kafka_queue_get_main(client.native_ptr());
            sys::rd_kafka_queue_io_event_enable(pointer, fd.as_raw_fd(), byte.as_ptr().cast(), byte.len());
            pointer
        };
        Self { queue: Owned { pointer, free: sys::rd_kafka_queue_destroy }, _fd: fd }
    }

    /// Whether the queue has no event.
    pub fn is_empty(&self) -> bool {
        // SAFETY: the queue lives as long as `self`.
        unsafe { sys::rd_kafka_queue_length(self.queue.pointer) == 0 }
    }
}

impl Drop for QueueNotifier {
    fn drop(&mut self) {
        // SAFETY: the queue lives as long as `self`; without a descriptor the call makes librdkafka stop writing.
        unsafe { sys::rd_kafka_queue_io_event_enable(self.queue.pointer, -1, ptr::null(), 0) }
    }
}

/// Describes these topics; the result omits those that do not exist. Blocks up to `timeout`.
pub fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    timeout: Duration,
) -> KafkaResult<Vec<TopicDescription>> {
    let names: Vec<CString> = names.iter().map(|name| CString::new(*name)).collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives this call, and so do `names`, which `pointers` point into and librdkafka copies. Each object
    // made here is freed by its own destructor, in reverse order, the event before its queue. The event is not used after that.
    unsafe {
        let rk = client.native_ptr();
        let topics = Owned {
            pointer: sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            free: sys::rd_kafka_TopicCollection_destroy,
        };
        let options = Owned {
            pointer: sys::rd_kafka_AdminOptions_new(rk, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            free: sys::rd_kafka_AdminOptions_destroy,
        };
        let mut reason = [0; 256];
        let set =
            sys::rd_kafka_AdminOptions_set_request_timeout(options.pointer, millis, reason.as_mut_ptr(), reason.len());
        succeeded(set)?;
        let queue = Owned { pointer: sys::rd_kafka_queue_new(rk), free: sys::rd_kafka_queue_destroy };
        sys::rd_kafka_DescribeTopics(rk, topics.pointer, options.pointer, queue.pointer);
        // librdkafka returns a timeout error after `timeout`; one more second lets that error arrive.
        let event = Owned {
            pointer: sys::rd_kafka_queue_poll(queue.pointer, millis.saturating_add(1_000)),
            free: sys::rd_kafka_event_destroy,
        };
        if event.pointer.is_null() {
            return Err(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut));
        }
        succeeded(sys::rd_kafka_event_error(event.pointer))?;
        let result = sys::rd_kafka_event_DescribeTopics_result(event.pointer);
        if result.is_null() {
            return Err(KafkaError::Global(RDKafkaErrorCode::BadMessage));
        }
        let mut count = 0;
        let first = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        (0..count).filter_map(|index| description(*first.add(index)).transpose()).collect()
    }
}

/// Copies one description; `None` where the topic does not exist.
///
/// # Safety
/// `topic` must belong to a result whose event was not destroyed.
unsafe fn description(topic: *const sys::rd_kafka_TopicDescription_t) -> KafkaResult<Option<TopicDescription>> {
    // SAFETY: the caller keeps the event, which owns everything that is read here; all of it is copied.
    unsafe {
        match sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic)).into() {
            RDKafkaErrorCode::NoError => {}
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => return Ok(None),
            code => return Err(KafkaError::MetadataFetch(code)),
        }
        let mut partitions = 0;
        sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let id = (!id.is_null()).then(|| {
            Uuid::from_u64_pair(
                sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned(),
                sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned(),
            )
        });
        Ok(Some(TopicDescription {
            name: CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned(),
            id: id.filter(|id| !id.is_nil()),
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
        }))
    }
}

fn succeeded(code: sys::rd_kafka_resp_err_t) -> KafkaResult<()> {
    match code.into() {
        RDKafkaErrorCode::NoError => Ok(()),
        code => Err(KafkaError::Global(code)),
    }
}

/// The headers of a message. Invalid UTF-8 in a name becomes replacement characters, a null value becomes an empty one.
pub fn headers(message: &BorrowedMessage<'_>) -> Headers {
    let mut all = Vec::new();
    // SAFETY: the message owns its headers and outlives this call; names end with a zero byte, values have the length that is
    // given, and both are copied out before the borrow ends.
    unsafe {
        let mut headers = ptr::null_mut();
        let found = sys::rd_kafka_message_headers(message.ptr(), &raw mut headers);
        if !matches!(found.into(), RDKafkaErrorCode::NoError) {
            return Headers::new();
        }
        for index in 0..sys::rd_kafka_header_cnt(headers) {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            let read = sys::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size);
            if !matches!(read.into(), RDKafkaErrorCode::NoError) {
                break;
            }
            let value = if value.is_null() {
                Bytes::new()
            } else {
                Bytes::copy_from_slice(std::slice::from_raw_parts(value.cast::<u8>(), size))
            };
            all.push((CStr::from_ptr(name).to_string_lossy().into_owned(), value));
        }
    }
    all.into_iter().collect()
}
