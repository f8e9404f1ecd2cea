//! Peer: Rust, tokio. Run with a port; 0 is any free port.
//!
//! A task for each connection, on the runtime of one thread: the server has one core. The replies
//! to what one read has brought are written at once.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};

const HEADER: usize = 4;
const READ_SIZE: usize = 64 << 10;

fn handle(message: &[u8]) -> &[u8] {
    message
}

/// Moves the replies to the whole frames from `input` to `output`.
fn cut_frames(input: &mut BytesMut, output: &mut BytesMut) {
    while input.len() >= HEADER {
        let length = u32::from_be_bytes([input[0], input[1], input[2], input[3]]) as usize;
        if input.len() < HEADER + length {
            input.reserve(HEADER + length - input.len());
            return;
        }
        let reply = handle(&input[HEADER..HEADER + length]);
        output.put_u32(reply.len() as u32);
        output.put_slice(reply);
        input.advance(HEADER + length);
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BytesMut::with_capacity(READ_SIZE);
    let mut output = BytesMut::with_capacity(READ_SIZE);
    loop {
        if input.capacity() == input.len() {
            input.reserve(READ_SIZE);
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        cut_frames(&mut input, &mut output);
        if !output.is_empty() {
            stream.write_all(&output).await?;
            output.clear();
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "0".to_string());
    let mut terminated = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("tokio: serving on {}", listener.local_addr()?);
    loop {
        tokio::select! {
            _ = terminated.recv() => std::process::exit(0),
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                tokio::spawn(serve(stream));
            },
        }
    }
}
