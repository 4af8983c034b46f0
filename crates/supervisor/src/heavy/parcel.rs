//! Large parts of messages to workers, as files in memory that can no longer change.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use runlet_proto::parcel::Part;
use runlet_proto::worker::ToWorker;

use crate::limits::{COPIED_IN_PLACE_BYTES_MAX, PARCEL_BYTES_MAX};

/// What is sent ahead of a message whose large parts were taken out.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) parts: Vec<Part>,
    pub(crate) file: OwnedFd,
}

/// Why a message cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParcelError {
    #[error("{0} bytes are more than a worker can be given at once ({PARCEL_BYTES_MAX})")]
    TooLarge(u64),
    #[error("no file in memory could be made for it: {0}")]
    File(#[from] io::Error),
}

/// Takes the large parts out of a message. `None` if it has none. Where there is much to copy, that happens on a thread that
/// may take its time.
///
/// # Errors
/// [`ParcelError`]; the message is of no more use then.
pub(crate) async fn pack(message: &mut ToWorker) -> Result<Option<Parcel>, ParcelError> {
    let (parts, contents): (Vec<_>, Vec<_>) = message.take_large_parts().into_iter().unzip();
    if parts.is_empty() {
        return Ok(None);
    }
    let bytes = parts.iter().map(|part| part.bytes).sum();
    if bytes > PARCEL_BYTES_MAX {
        return Err(ParcelError::TooLarge(bytes));
    }
    let write = move || file_of(&contents);
    let file = if bytes <= COPIED_IN_PLACE_BYTES_MAX {
        write()
    } else {
        tokio::task::spawn_blocking(write).await.expect("a copy does not panic, and the runtime lives")
    };
    Ok(Some(Parcel { parts, file: file? }))
}

fn file_of(contents: &[Bytes]) -> io::Result<OwnedFd> {
    let mut flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    flags |= MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let descriptor = match memfd_create(c"runlet-parcel", flags) {
        // Linux before 6.3 does not know the last flag.
        Err(Errno::EINVAL) => memfd_create(c"runlet-parcel", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?,
        made => made?,
    };
    let mut file = File::from(descriptor);
    for part in contents {
        file.write_all(part)?;
    }
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::io::{Read as _, Seek as _};

    use runlet_proto::ids::{Attempt, BlockIndex};
    use runlet_proto::parcel::INLINE_BYTES_MAX;
    use runlet_proto::worker::{Begin, Payload};

    use super::*;

    fn begin(input: Bytes) -> ToWorker {
        let begin = Begin { block: BlockIndex(0), attempt: Attempt(1), input: Payload::Json(input), scope: None };
        ToWorker::Begin(Box::new(begin))
    }

    #[tokio::test]
    async fn a_parcel_holds_what_was_taken_out_and_cannot_change() {
        for bytes in [INLINE_BYTES_MAX + 1, 2 << 20] {
            let text = Bytes::from(vec![b'7'; bytes]);
            let mut message = begin(text.clone());
            let parcel = pack(&mut message).await.unwrap().unwrap();
            assert_eq!(message, begin(Bytes::new()));
            let mut file = File::from(parcel.file);
            assert!(file.write_all(b"x").is_err() && file.set_len(1).is_err());
            file.rewind().unwrap();
            let mut found = Vec::new();
            file.read_to_end(&mut found).unwrap();
            message.put_parts(&parcel.parts, found.into()).unwrap();
            assert_eq!(message, begin(text));
        }
    }

    #[tokio::test]
    async fn what_is_small_stays_and_what_is_too_large_is_told() {
        assert!(pack(&mut begin(Bytes::from_static(b"1"))).await.unwrap().is_none());
        let huge = begin(Bytes::from(vec![0; usize::try_from(PARCEL_BYTES_MAX).unwrap() + 1]));
        assert!(matches!(pack(&mut { huge }).await, Err(ParcelError::TooLarge(_))));
    }
}
