//! A server that sends back whatever comes, for thousands of connections in one thread. An idle connection
//! costs it next to nothing.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{
    io::{AsyncWriteExt as _, Interest},
    net::{TcpListener, TcpStream},
};

/// Bytes of one read.
const BLOCK: usize = 16 << 10;

/// What it says first: where it listens follows.
pub(crate) const LISTENING: &str = "listening on ";

/// Serves `port`, or any if it is 0, until killed; says on standard output where it listens.
///
/// # Errors
/// The port cannot be had.
pub fn serve(port: u16) -> io::Result<()> {
    rp_cli::run::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await?;
        writeln!(io::stdout(), "{LISTENING}{}", listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                // Whoever is there sees its end.
                let _ = echo(stream).await;
            });
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        stream.ready(Interest::READABLE).await?;
        let Some(block) = read_now(&stream)? else {
            continue;
        };
        if block.is_empty() {
            return Ok(());
        }
        stream.write_all(&block).await?;
    }
}

/// What is there, if anything; a function of its own, so that no task holds the buffer.
fn read_now(stream: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut block = [0; BLOCK];
    match stream.try_read(&mut block) {
        Ok(read) => Ok(Some(block[..read].to_vec())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
