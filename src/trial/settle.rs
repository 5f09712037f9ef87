//! What follows an attempt on a testbed that others use, too: whether its service
//! is still there, and what the guest left in it.

use std::pin::pin;

use futures_util::poll;

use super::Request;
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::record::Trial;
use crate::testbed::Testbed;

/// Removes what an attempt's guest left behind, so that others do not wait for
/// it. Returns why no further trial would tell anything, if none would: the
/// service is lost, parts of it do not answer, or it is full.
pub async fn settle(
    context: &Context,
    testbed: &Testbed,
    request: &Request,
    trial: &Trial,
) -> Option<String> {
    if let Some(why) = lost(testbed).await {
        return Some(why);
    }
    if !trial.unanswered.is_empty()
        && let Err(fault) = testbed.service().answers().await
    {
        return Some(Error::from(fault).one_line());
    }
    let name = &request.hostname;
    if let Err(fault) = testbed.service().clear(name).await {
        let text = Error::from(fault).one_line();
        let text = format!("cannot remove what {name} left behind: {text}");
        context.emit(Event::Warning(text));
    }
    testbed.filled().await
}

/// Why the service is lost, if it is.
pub async fn lost(testbed: &Testbed) -> Option<String> {
    match poll!(pin!(testbed.lost())) {
        std::task::Poll::Ready(why) => Some(why),
        std::task::Poll::Pending => None,
    }
}
