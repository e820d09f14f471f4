//! Patterns among the sources of a copy, as `HOST:*.txt`: the other side says what fits them.

use rp_transfer::{
    error::Error,
    glob,
    message::{Done, List, Message, Status},
};

use super::{CopyError, location::Remote, requests::Requests};

/// The sources with each pattern replaced by what fits it.
///
/// # Errors
/// Nothing fits one of them.
pub(super) async fn expand(
    requests: &Requests,
    sources: Vec<Remote>,
) -> Result<Vec<Remote>, CopyError> {
    let mut expanded = Vec::with_capacity(sources.len());
    for source in sources {
        match glob::is_pattern(&source.path) {
            true => expanded.extend(fitting(requests, &source).await?),
            false => expanded.push(source),
        }
    }
    Ok(expanded)
}

async fn fitting(requests: &Requests, source: &Remote) -> Result<Vec<Remote>, CopyError> {
    let (base, pattern) = glob::split(&source.path);
    let list = Message::List(List {
        path: base.to_vec(),
        pattern: pattern.to_vec(),
        ..List::default()
    });
    let mut answers = requests.ask(&[list]).await?;
    let mut found = Vec::new();
    while let Some(entry) = answers.next().await? {
        match entry.failure {
            Some(why) => return Err(super::missing_source(Error::Peer(why))),
            None if found.len() < glob::MAX_FOUND => {
                let path = match base {
                    b"" => entry.path,
                    base => [base, b"/", &entry.path].concat(),
                };
                found.push(source.beside(path));
            }
            None => return Err(Error::Protocol("more than can fit a pattern").into()),
        }
    }
    match found.is_empty() {
        true => Err(CopyError::NoSource(Error::Peer(Done {
            status: Status::NotFound,
            text: format!("{source}: nothing fits the pattern"),
        }))),
        false => Ok(found),
    }
}
