//! HTTP CONNECT: from the request to a relay on the client's connection.
//! Parsing the request is hyper's; other methods are `http`'s.

use hyper::{Request, StatusCode, Uri, body::Incoming};
use hyper_util::rt::TokioIo;
use tracing::debug;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::Response;

use super::{
    FrontEndContext, SemaphorePermit,
    http::{AnswerBody, Guarded, answer, failed},
};
use crate::{
    client::TargetStream,
    relay::Near,
    target::{Target, TargetError},
};

/// The target of a CONNECT request: authority form with a port, and nothing else.
fn target_of(uri: &Uri) -> Result<Target, TargetError> {
    match uri.authority() {
        Some(authority) if uri.scheme().is_none() => Target::parse(authority.as_str(), None),
        _ => Err(TargetError::Host),
    }
}

/// Dials what a CONNECT request names; 200 is sent once the target has answered.
pub(super) async fn connect(
    request: Request<Incoming>,
    context: &FrontEndContext,
    permit: SemaphorePermit,
) -> Response<AnswerBody> {
    let target = match target_of(request.uri()) {
        Ok(target) => target,
        Err(error) => return answer(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match context.connect(&target, Bytes::new()).await {
        Ok((_bound, stream)) => {
            tokio::spawn(switch(request, stream, context.clone(), permit));
            Response::new(Either::Right(Full::default()))
        }
        Err(error) => {
            debug!(%target, %error, "connect failed");
            failed(&error)
        }
    }
}

/// Takes the client's connection over from hyper once the 200 is out, and relays on it.
async fn switch(
    request: Request<Incoming>,
    stream: TargetStream,
    context: FrontEndContext,
    permit: SemaphorePermit,
) {
    let Ok(upgraded) = hyper::upgrade::on(request).await else {
        // The client left before it had its answer; dropping the stream ends the target's side.
        return;
    };
    if let Some(near) = near(upgraded) {
        context.relay(near, stream, permit);
    }
}

/// The client's own connection behind what hyper hands over, and the bytes it read ahead.
pub(super) fn near(upgraded: hyper::upgrade::Upgraded) -> Option<Near> {
    let parts = upgraded.downcast::<TokioIo<Guarded>>().ok()?;
    Some(Near {
        tcp: parts.io.into_inner().into_inner(),
        early: parts.read_buf,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_authority_form_with_a_port_names_a_target() {
        let target = |uri: &str| target_of(&uri.parse().unwrap()).map(|t| t.to_string());
        assert_eq!(target("a.example:443").as_deref(), Ok("a.example:443"));
        assert_eq!(
            target("[2001:db8::1]:22").as_deref(),
            Ok("[2001:db8::1]:22")
        );
        assert_eq!(target("a.example"), Err(TargetError::Port));
        assert_eq!(target("http://a.example:80/"), Err(TargetError::Host));
        assert_eq!(target("user@a.example:80"), Err(TargetError::Host));
        assert_eq!(target("/"), Err(TargetError::Host));
    }
}
