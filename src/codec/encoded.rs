//! An encoded value: its bytes, wherever they are, and the buffers in it.

use std::io;
use std::sync::Arc;

use super::Bytes;
use crate::shm::BufferError;
use crate::shm::attachment::Attachment;
use crate::shm::attachments;

/// No call and no result carries more buffers.
pub(crate) const ATTACHMENTS_MAX: usize = 128;

/// What is said of more.
pub(crate) fn too_many(count: usize) -> String {
    format!(
        "{count} shared buffers in one call or result, of which {ATTACHMENTS_MAX} can be sent together"
    )
}

/// Arguments or a result. Small, since every task has one, and most are nothing but a few bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    bytes: Bytes,
    rest: Option<Box<Rest>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rest {
    attachments: Vec<Attachment>,
    body: Body,
}

/// Where the bytes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Body {
    /// In `bytes`.
    #[default]
    Here,
    /// So many that they are not cloned.
    Shared(Arc<Bytes>),
    /// Still with the worker, in the first so many bytes of a parcel.
    InParcel(Attachment, usize),
}

impl Encoded {
    /// Why a channel takes none with buffers.
    pub(crate) const NEEDS_RING: &str = "shared buffers cross over rings only: build the supervisor with \
                                         `Transport::Ring`, which is the default";

    #[inline(always)]
    pub(crate) fn new(bytes: Bytes, attachments: Vec<Attachment>) -> Self {
        let rest = (!attachments.is_empty())
            .then(|| Box::new(Rest { attachments, body: Body::default() }));
        Self { bytes, rest }
    }

    pub(crate) fn in_parcel(
        parcel: Attachment,
        length: usize,
        attachments: Vec<Attachment>,
    ) -> Self {
        let body = Body::InParcel(parcel, length);
        Self { bytes: Bytes::new(), rest: Some(Box::new(Rest { attachments, body })) }
    }

    /// From now on clones are cheap if it is longer than `length`.
    pub(crate) fn share_above(&mut self, length: usize) {
        if self.bytes.len() > length {
            let body = Body::Shared(Arc::new(std::mem::take(&mut self.bytes)));
            self.rest.get_or_insert_default().body = body;
        }
    }

    /// What workers have made and lent becomes a copy: sent back to its maker it could not be sent once more. An error: there
    /// was no memory for one, and a retry may be refused it.
    pub(crate) fn keep_for_retries(&mut self) -> Result<(), BufferError> {
        for attachment in self.rest.iter_mut().flat_map(|rest| &mut rest.attachments) {
            if let Some(copy) = attachment.copy_of_leased()? {
                *attachment = copy;
            }
        }
        Ok(())
    }

    pub(crate) fn attachments(&self) -> &[Attachment] {
        self.rest.as_ref().map_or(&[], |rest| &rest.attachments)
    }

    /// The bytes, if they are here.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self.rest.as_deref() {
            Some(Rest { body: Body::Shared(shared), .. }) => shared,
            _ => &self.bytes,
        }
    }

    /// The bytes, if there are no buffers and no more than `length` bytes.
    #[inline(always)]
    pub(crate) fn plain_up_to(&self, length: usize) -> Option<&Bytes> {
        (self.rest.is_none() && self.bytes.len() <= length).then_some(&self.bytes)
    }

    /// Whether it has no memory of its own.
    #[inline(always)]
    pub(crate) fn has_no_memory(&self) -> bool {
        self.rest.is_none() && self.bytes.has_no_memory()
    }

    /// The bytes, if they are [shared](Self::share_above).
    pub(crate) fn shared(&self) -> Option<&Arc<Bytes>> {
        match self.rest.as_deref() {
            Some(Rest { body: Body::Shared(shared), .. }) => Some(shared),
            _ => None,
        }
    }

    /// The bytes alone, to be sent away, and the buffers.
    #[inline]
    pub(crate) fn into_parts(self) -> (Bytes, Vec<Attachment>) {
        let Self { bytes, rest } = self;
        let Some(Rest { attachments, body }) = rest.map(|rest| *rest) else {
            return (bytes, Vec::new());
        };
        let bytes = match body {
            Body::Shared(shared) => Arc::unwrap_or_clone(shared),
            Body::Here | Body::InParcel(..) => bytes,
        };
        (bytes, attachments)
    }

    /// Decode it by `decode`, which finds the buffers.
    ///
    /// An error if the bytes were to be fetched from a worker, and there is no memory for them.
    pub(crate) fn decode<R>(self, decode: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let Some(Rest { attachments, body }) = self.rest.map(|rest| *rest) else {
            return Ok(decode(&self.bytes));
        };
        let fetched;
        let bytes = match &body {
            Body::Here => &self.bytes[..],
            Body::Shared(shared) => &shared[..],
            Body::InParcel(parcel, length) => {
                fetched = fetch(parcel, *length)?;
                &fetched[..]
            }
        };
        Ok(attachments::with_received(attachments, || decode(bytes)))
    }
}

impl From<Vec<u8>> for Encoded {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<Bytes> for Encoded {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, rest: None }
    }
}

/// The first bytes of a parcel.
pub(crate) fn fetch(parcel: &Attachment, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fetch_into(parcel, length, &mut bytes)?;
    Ok(bytes)
}

/// As [`fetch`], into a vector that is empty and may have memory.
pub(crate) fn fetch_into(
    parcel: &Attachment,
    length: usize,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    bytes.try_reserve_exact(length).map_err(io::Error::other)?;
    parcel.copy_out(0..length, bytes)
}
