//! A tour of what a module may import: one task that uses all of it. The same in C (`tour.c`) and in AssemblyScript
//! (`tour.ts`).

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{format, string::String};
use pangea_guest::{Level, chunk_read, log, now, random, send, task};

/// Sends the input back, and tells what the clock says, what the seed gives, and what the data beside the input is.
#[task(log)]
pub fn tour(input: &str) -> Result<String, String> {
    if input.is_empty() {
        return Err("the input is empty: there is nothing to show".into());
    }
    assert!(input != "panic", "asked to panic");
    log(Level::Info, &format!("{} bytes of input", input.len()));
    send(input.as_bytes());
    let mut number = [0; 8];
    random(&mut number);
    let mut start = [0; 5];
    let chunk = match chunk_read(0, 0, &mut start) {
        Some(read) => String::from_utf8_lossy(&start[..read]).into_owned(),
        None => "none".into(),
    };
    Ok(format!("now {}\nrandom {}\nchunk {chunk}\n", now(), u64::from_le_bytes(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_guest::native;

    #[test]
    fn it_shows_what_the_host_gives() {
        native::with(|host| (host.unix_ms, host.chunks) = (7, vec![b"some data".to_vec()]));
        let shown = tour("hello").expect("there is an input");
        assert!(shown.starts_with("now 7\nrandom ") && shown.ends_with("\nchunk some \n"), "{shown}");
        native::with(|host| {
            assert_eq!(host.sent, [b"hello"]);
            assert_eq!(host.lines, [(Level::Info, "5 bytes of input".to_owned())]);
        });
        assert!(tour("").is_err());
    }
}
